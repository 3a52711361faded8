"""DeepL's routes: which there are, and that others of DeepL's are refused in its shape."""

from pathlib import Path

import pytest

from tests.serving import Asking, asking, site_of


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/document"),
        ("GET", "/v2/document/7"),
        ("POST", "/v2/write/rephrase"),
        ("GET", "/v3/glossaries"),
        ("PATCH", "/v3/glossaries/7"),
        ("PUT", "/v3/style_rules/7"),
        ("DELETE", "/v3/translation_memories/7"),
        ("GET", "/v2/nothing"),
    ],
)
def test_what_is_not_there_is_said_in_its_shape(method: str, path: str, toy_asking: Asking) -> None:
    answer = toy_asking.ask(method, path)
    assert answer.status == 404
    assert list(answer.json) == ["message"]


def test_a_wrong_method_is_said_in_its_shape(toy_asking: Asking) -> None:
    answer = toy_asking.ask("PUT", "/v2/translate")
    assert (answer.status, list(answer.json), answer.headers["allow"]) == (405, ["message"], "POST")


def test_all_need_a_key(toy_run: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-mine\n")
    with site_of([f"mt={toy_run}"], api_key=keys) as site:
        ask = asking(site)
        for method, path in (
            ("POST", "/v2/translate"), ("GET", "/v2/languages"), ("GET", "/v2/usage"), ("GET", "/v2/glossaries"),
            ("POST", "/v2/glossaries"), ("DELETE", "/v2/glossaries/x"), ("GET", "/v2/glossaries/x/entries"),
            ("GET", "/v2/glossary-language-pairs"), ("GET", "/v3/glossaries"),
        ):  # fmt: skip
            answer = ask.ask(method, path)
            assert (answer.status, answer.json) == (403, {"message": "Authorization failure, check auth_key"}), path
        assert ask.get("/v2/usage", headers={"Authorization": "DeepL-Auth-Key a-key-of-mine"}).status == 200
