"""The words of refusals are those that clients of LibreTranslate compare."""

import pytest
from starlette.requests import Request

from clearhead.serve.dialects.libretranslate.shape import LIBRETRANSLATE, demand, too_long, unsupported
from clearhead.serve.http.body import Fields
from clearhead.serve.http.request_error import RequestError, too_many


def request_of(query: str = "", **headers: str) -> Request:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": pairs, "query_string": query.encode()})


def test_a_key_comes_in_the_body_the_query_or_a_header() -> None:
    key = LIBRETRANSLATE.key
    assert key(request_of(), Fields({"api_key": "a"})) == "a"
    assert key(request_of("api_key=b&api_key=c"), Fields({})) in "bc"
    assert key(request_of(authorization="Bearer d"), Fields({})) == "d"
    assert key(request_of(), Fields({"api_key": ["a"]})) == key(request_of(), Fields({})) == ""


def test_refusals() -> None:
    assert LIBRETRANSLATE.error(RequestError(400, "x")) == {"error": "x"}
    assert LIBRETRANSLATE.error(too_many("later")) == {"error": "Slowdown: later"}
    wrong, missing = LIBRETRANSLATE.no_key("bad"), LIBRETRANSLATE.no_key("")
    assert (wrong.status, wrong.message) == (403, "Invalid API key")
    assert (missing.status, missing.message) == (400, "Please contact the server operator to get an API key")
    assert too_long(70, 64).message == "Invalid request: request (70) exceeds text limit (64)"
    assert unsupported("zz").message == "zz is not supported"


@pytest.mark.parametrize("tree", [{}, {"q": None}, {"q": ""}, {"q": []}])
def test_what_is_left_out_is_named(tree: dict[str, object]) -> None:
    with pytest.raises(RequestError) as raised:
        demand(Fields({"source": "zh", **tree}), "source", "q")
    assert (raised.value.status, raised.value.message) == (400, "Invalid request: missing q parameter")
    demand(Fields({"q": ["a"]}), "q")
