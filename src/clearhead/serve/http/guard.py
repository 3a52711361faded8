"""What stands before every route: hosts, origins, a number for each request, headers of safety, and counts."""

import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clearhead.serve.settings import LOOPBACK, ServeSettings

REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
PORT = re.compile(r":\d{0,5}$", re.ASCII)
NAMES = re.compile(r"[\w-]+( *, *[\w-]+){0,63}", re.ASCII)
"""Of headers."""
ALLOWED = "Authorization, Content-Type, X-Request-Id"
EXPOSED = (
    "X-Request-Id, X-Clearhead-Checkpoint, X-Clearhead-Parts, X-Clearhead-Dropped, X-Clearhead-Unmet, "
    "X-Clearhead-Ignored-Messages, Retry-After"
)
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", POLICY.encode()),
]
OWN = {b"x-request-id", *(name for name, _ in SAFE)}
NO_STORE = (b"cache-control", b"no-store")
Pair = tuple[bytes, bytes]
Counted = Callable[[Scope, int, float], None]
"""Told of a request that is over: its scope, the status, and its seconds."""


class Guard:
    """An ASGI application around another.

    Args:
        app: what answers.
        settings: which hosts and origins may ask.
        on_done: told of each request.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, on_done: Counted) -> None:
        self.app, self.on_done = app, on_done
        self.origins = frozenset(origin.rstrip("/").lower() for origin in settings.allow_origin)
        self.hosts = frozenset(name.strip("[]").lower() for name in (*LOOPBACK, settings.host, *settings.allow_host))
        self.any_host = settings.host in ("0.0.0.0", "::") and not settings.allow_host  # who may come from anywhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, began, status = Headers(scope=scope), time.perf_counter(), 500
        given = headers.get("x-request-id", "")
        number = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope["path"] = tidy(scope["path"])

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_safe(message.get("headers", ()), number)
                if self.origins:
                    self._add_origin(MutableHeaders(scope=message), headers)
            await send(message)

        try:
            if refusal := self._refused(headers):
                await _plain(answer, *refusal)
            elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await _plain(answer, 204, "")
            else:
                await self.app(scope, receive, answer)
        finally:
            self.on_done(scope, status, time.perf_counter() - began)

    def _refused(self, headers: Headers) -> tuple[int, str] | None:
        """Returns the status and reason of a refusal, if it is one.

        A page elsewhere may have bent a name of its own to this server, or send what needs no permission, as forms do.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.any_host and PORT.sub("", host).strip("[]").lower() not in self.hosts:
            return 421, "Host is not one of this server's names; see --allow-host"
        if origin is not None and origin.lower() not in self.origins and origin.partition("://")[2] != host:
            return 403, "Origin is a page that may not ask; see --allow-origin"
        return None

    def _add_origin(self, headers: MutableHeaders, asked: Headers) -> None:
        headers.add_vary_header("Origin")
        if (origin := asked.get("origin", "")).lower() not in self.origins:
            return
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = EXPOSED
        if "access-control-request-method" in asked:
            wanted = asked.get("access-control-request-headers", "")
            headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
            headers["Access-Control-Allow-Headers"] = wanted if NAMES.fullmatch(wanted) else ALLOWED
            headers["Access-Control-Max-Age"] = "600"


def _with_safe(pairs: Iterable[Pair], number: str) -> list[Pair]:
    """Returns the headers of an answer with those that every answer has, whatever it says of itself."""
    kept = [pair for pair in pairs if pair[0] not in OWN]
    also = () if any(name == NO_STORE[0] for name, _ in kept) else (NO_STORE,)
    return [*kept, (b"x-request-id", number.encode()), *SAFE, *also]


def tidy(path: str) -> str:
    """Returns a path without a slash at its end or two in a row, which clients make of an address that ends in one."""
    return re.sub("/{2,}", "/", path).rstrip("/") or "/"


async def _plain(send: Callable[[Message], Any], status: int, text: str) -> None:
    body = text.encode()
    pairs = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if status == 204:
        pairs = []
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
