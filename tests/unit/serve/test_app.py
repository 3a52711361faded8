"""Which paths a server has; wrong ones are told in the shape of the dialect that they are of, and counted."""

from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from clearhead.serve.app import Direct
from tests.serving import Asking, asking, site_of


@pytest.mark.parametrize(
    ("method", "path", "status", "shape"),
    [
        ("GET", "/v1/nothing", 404, lambda tree: tree["error"]["message"]),
        ("GET", "/v1/completions", 405, lambda tree: tree["error"]["message"]),
        ("GET", "/translate", 405, lambda tree: tree["error"]),
        ("GET", "/detect", 405, lambda tree: tree["error"]),
        ("GET", "/v2/translate", 405, lambda tree: tree["message"]),
        ("POST", "/v2/nothing", 404, lambda tree: tree["message"]),
        ("GET", "/nothing", 404, lambda tree: tree["error"]),
    ],
)
def test_wrong_paths_and_methods(method: str, path: str, status: int, shape: object, toy_asking: Asking) -> None:
    answer = toy_asking.ask(method, path)
    assert answer.status == status
    assert path in shape(answer.json)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/translate", "POST"),
        ("/languages", "GET, HEAD"),
        ("/v2/glossaries", "GET, HEAD, POST"),
        ("/v2/glossaries/x", "DELETE, GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_all_others(path: str, allowed: str, toy_asking: Asking) -> None:
    answer = toy_asking.ask("PATCH", path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


def test_paths_without_parameters_are_answered_at_once() -> None:
    async def found(request: Request) -> Response:
        return PlainTextResponse(f"{request.method} {request.url.path}")

    async def other(request: Request) -> Response:
        return PlainTextResponse("the second of a path")

    async def others(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("elsewhere")(scope, receive, send)

    routes = [Route("/a", found, methods=["GET"]), Route("/a", other), Route("/a/{name}", other)]
    asking = Asking(Direct(others, routes))
    assert asking.get("/a").text == "GET /a"
    assert [asking.ask(*asked).text for asked in (("POST", "/a"), ("GET", "/a/b"), ("GET", "/"))] == ["elsewhere"] * 3


def test_a_dialect_that_is_left_out_has_no_paths(toy_run: Path) -> None:
    with site_of([f"mt={toy_run}"], dialects=("deepl",), page=False) as site:
        answers = {path: asking(site).get(path).status for path in ("/v1/models", "/languages", "/v2/usage", "/")}
    assert answers == {"/v1/models": 404, "/languages": 404, "/v2/usage": 200, "/": 404}


def test_paths_are_counted_by_their_route_and_never_by_what_a_client_wrote(toy_run: Path) -> None:
    with site_of([f"mt={toy_run}"]) as site:
        asking(site).get("/v1/models/mt")
        asking(site).get("/secret-text")
        text = site.metrics.text()
    assert 'clearhead_requests_total{dialect="openai",path="/v1/models/{model:path}",status="200"} 1' in text
    assert "secret" not in text
