"""The page of the interface: all of it, of this server alone, and nothing in it is taken for markup."""

from html.parser import HTMLParser

from clearhead.serve.openapi import openapi
from clearhead.serve.reference import reference
from clearhead.serve.settings import DIALECTS
from tests.serving import Asking


def test_it_has_every_route_and_field() -> None:
    tree = openapi(DIALECTS)
    page = reference(tree)
    for path, methods in tree["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}<" in page
    assert "<code>logit_bias</code></td><td>object</td>" in page
    assert "<code>target</code></td><td>string</td><td>needed</td>" in page
    assert "string or list of strings" in page
    assert "list of objects" in page


def test_what_it_shows_is_no_markup() -> None:
    tree = openapi([])
    tree["paths"] = {"/<img onerror=x>": {"get": {"summary": "<script>"}}}
    page = reference(tree)
    assert "<img" not in page
    assert "<script" not in page


def test_it_loads_nothing_from_elsewhere(toy_asking: Asking) -> None:
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(str(value) for name, value in attrs if name in ("src", "href"))

    answer = toy_asking.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    Links().feed(answer.text)
    assert found == ["/docs.css", "/openapi.json"]
    assert [toy_asking.get(path).status for path in found] == [200, 200]
    assert toy_asking.get("/docs.css").headers["content-type"].startswith("text/css")
