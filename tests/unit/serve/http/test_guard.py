"""Before every route: hosts, origins, request numbers, headers of safety, paths made tidy, counts."""

import re
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from clearhead.serve.http.guard import Guard, tidy
from clearhead.serve.settings import ServeSettings
from tests.serving import Answer, Asking

PAGE = "https://app.example.org"


def guarded(**settings: Any) -> tuple[Asking, list[tuple[str, int]]]:
    """Returns what asks an application that says its path, and what was counted."""
    counted: list[tuple[str, int]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/broken":
            raise RuntimeError("broken")
        await PlainTextResponse(scope["path"])(scope, receive, send)

    def count(scope: Scope, status: int, seconds: float) -> None:
        assert 0 <= seconds < 60
        counted.append((scope["path"], status))

    return Asking(Guard(app, ServeSettings(**settings), count)), counted


def get(asking: Asking, **headers: str) -> Answer:
    return asking.get("/x", headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8400", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8400", "my.name:80", "10.0.0.7"]
)
def test_its_own_names_are_answered(host: str) -> None:
    asking, counted = guarded(host="10.0.0.7", allow_host=("My.Name",))
    assert get(asking, host=host).status == 200
    assert counted == [("/x", 200)]


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "evil.example:8400", "127.0.0.1.evil.example", "::1:2:3"]
)
def test_other_names_are_not(host: str) -> None:
    asking, counted = guarded()
    found = get(asking, host=host)
    assert (found.status, counted) == (421, [("/x", 421)])
    assert "--allow-host" in found.text


def test_a_server_for_everybody_has_any_name_unless_some_are_named() -> None:
    assert get(guarded(host="0.0.0.0")[0], host="who.knows").status == 200
    assert get(guarded(host="0.0.0.0", allow_host=("me",))[0], host="who.knows").status == 421


def test_pages_of_others_may_not_ask() -> None:
    """Not even what needs no permission, such as a form that a page elsewhere sends."""
    asking, _ = guarded()
    for origin in (PAGE, "null", "http://localhost:1", "http://evil.example", "file://", ""):
        found = get(asking, host="localhost:8400", origin=origin)
        assert found.status == 403, origin
        assert not [name for name in found.headers if name.startswith("access-control")]
    assert get(asking, host="localhost:8400", origin="http://localhost:8400").status == 200, "the own page"
    assert "access-control-allow-origin" not in get(asking, host="localhost", origin="http://localhost").headers


def test_pages_that_are_allowed_may() -> None:
    asking, _ = guarded(allow_origin=(PAGE + "/",))
    found = get(asking, origin=PAGE)
    assert found.status == 200
    assert found.headers["access-control-allow-origin"] == PAGE
    assert found.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in found.headers
    assert get(asking).headers["vary"] == "Origin"
    assert get(asking, origin="https://app.example.org.evil.example").status == 403
    before = asking.ask(
        "OPTIONS",
        "/x",
        headers={
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, x-stainless-os",
        },
    )
    assert (before.status, before.body) == (204, b"")
    assert before.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert "POST" in before.headers["access-control-allow-methods"]


def test_permission_is_not_given_to_others() -> None:
    asking, _ = guarded(allow_origin=(PAGE,))
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    assert asking.ask("OPTIONS", "/x", headers=asked).status == 403
    assert asking.ask("OPTIONS", "/x").text == "/x", "other uses of OPTIONS are the application's"


def test_every_answer_has_a_number_and_headers_of_safety() -> None:
    asking, _ = guarded()
    assert get(asking, X_Request_Id="job-7.a:b").headers["x-request-id"] == "job-7.a:b"
    for bad in ("a b", "x" * 65, "\r\nSet-Cookie: a=b", ""):
        number = get(asking, X_Request_Id=bad).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{16}", number), bad
    headers = get(asking).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert get(asking, host="evil").headers["x-content-type-options"] == "nosniff"


def test_paths_are_made_tidy() -> None:
    assert [tidy(path) for path in ("/", "//", "/a/", "//v1//models/", "/a", "", "/a/b//")] == [
        "/", "/", "/a", "/v1/models", "/a", "/", "/a/b",
    ]  # fmt: skip
    asking, counted = guarded()
    assert asking.get("/v1//models/").text == "/v1/models"
    assert counted == [("/v1/models", 200)]


def test_a_failure_is_counted() -> None:
    asking, counted = guarded()
    with pytest.raises(RuntimeError):
        asking.get("/broken")
    assert counted == [("/broken", 500)]
