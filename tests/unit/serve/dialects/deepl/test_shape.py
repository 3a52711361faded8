"""What DeepL's routes share: where a key may stand, and codes of languages."""

import pytest
from starlette.requests import Request

from clearhead.serve.dialects.deepl.shape import DEEPL, code_of
from clearhead.serve.http.body import Fields
from clearhead.serve.http.request_error import RequestError


def key_of(authorization: str, tree: dict[str, object]) -> str:
    headers = [(b"authorization", authorization.encode())] if authorization else []
    return DEEPL.key(Request({"type": "http", "headers": headers}), Fields(tree))


def test_where_a_key_stands() -> None:
    assert key_of("DeepL-Auth-Key abc:fx", {}) == "abc:fx"
    assert key_of("deepl-auth-key  abc ", {}) == "abc"
    assert key_of("", {"auth_key": "abc"}) == "abc"
    assert key_of("Bearer abc", {}) == "abc"
    assert key_of("Basic abc", {"auth_key": 5}) == key_of("", {}) == ""
    assert DEEPL.no_key("x").status == 403
    assert DEEPL.error(RequestError(400, "m", param="p")) == {"message": "m"}


def test_codes_lose_script_and_country() -> None:
    codes = {"EN-US": "en", "zh-Hans": "zh", "ZH": "zh", "pt-br": "pt", "ES-419": "es", "": None, None: None}
    assert {given: code_of(Fields({"x": given}), "x") for given in codes} == codes


@pytest.mark.parametrize("given", ["e", "english", "en_us", "EN-", "é", "EN-US-x", 5, ["EN"]])
def test_what_is_no_code_is_refused(given: object) -> None:
    with pytest.raises(RequestError) as raised:
        code_of(Fields({"target_lang": given}), "target_lang")
    assert (raised.value.status, raised.value.param) == (400, "target_lang")
