"""The description of the interface: every route is in it, every one of it is a route."""

import json
from typing import Any

from clearhead.serve.openapi import openapi
from clearhead.serve.settings import DIALECTS
from tests.serving import Asking

SPOKEN = (*DIALECTS, "native")
BESIDE = {"/docs.css"}
"""Routes that are parts of others."""


def described(tree: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in tree["paths"].items() for method in methods}


def test_it_has_the_routes_and_no_others(toy_site: Any) -> None:
    from clearhead.serve.app import routes_of
    from clearhead.serve.dialects.deepl.routes import ABSENT

    routes = {
        (method, route.path.replace(":path}", "}"))
        for route in routes_of(toy_site)
        if hasattr(route, "methods")
        for method in route.methods - {"HEAD"}
    }
    absent = {path.replace(":path}", "}") for path in ABSENT}
    spoken = {(method, path) for method, path in routes if path not in absent | BESIDE and _of_dialects(path)}
    assert spoken == described(openapi(SPOKEN))


def _of_dialects(path: str) -> bool:
    """Whether a path is of a dialect, and not of the page."""
    return not path.startswith("/page") and path not in ("/", "/{file}", "/favicon.ico")


def test_a_dialect_that_is_not_spoken_is_not_described() -> None:
    assert not [path for path in openapi(["openai"])["paths"] if path.startswith("/v2") or path == "/translate"]


def test_it_is_openapi() -> None:
    tree = openapi(SPOKEN)
    assert tree["openapi"] == "3.1.0"
    assert tree == json.loads(json.dumps(tree)) == openapi(SPOKEN)
    for path, methods in tree["paths"].items():
        names = {part.split("}")[0] for part in path.split("{")[1:]}
        for route in methods.values():
            assert {each["name"] for each in route.get("parameters", [])} == names
            assert route["summary"].endswith(".")
            assert "default" in route["responses"]
            for content in route.get("requestBody", {}).get("content", {}).values():
                schema = content["schema"]
                assert set(schema["required"]) <= set(schema["properties"]), path


def test_fields_of_what_stands_before_a_text_are_described() -> None:
    for path in ("/v2/translate", "/api/translate", "/api/alternatives"):
        content = openapi(SPOKEN)["paths"][path]["post"]["requestBody"]["content"]
        assert all("context" in each["schema"]["properties"] for each in content.values()), path


def test_clients_find_it(toy_asking: Asking) -> None:
    assert toy_asking.get("/openapi.json").json == toy_asking.get("/spec").json == openapi(SPOKEN)
