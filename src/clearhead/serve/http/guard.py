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
ALLOWED = "Authorization, Content-Type, X-Request-Id"
EXPOSED = "X-Request-Id, X-Clearhead-Checkpoint, X-Clearhead-Parts, X-Clearhead-Unmet, Retry-After"
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
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
        self.origins = frozenset(settings.allow_origin)
        names: Iterable[str] = (*LOOPBACK, settings.host, *settings.allow_host)
        self.hosts = frozenset(name.lower() for name in names)
        self.any_host = settings.host in ("0.0.0.0", "::") and not settings.allow_host  # who may come from anywhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, began, status = Headers(scope=scope), time.perf_counter(), 500
        given = headers.get("x-request-id", "")
        number = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        origin = headers.get("origin")

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message), number, origin)
            await send(message)

        try:
            if not self._is_known(headers.get("host", "")):
                await _plain(answer, 421, "Host is not one of this server's names; see --allow-host")
            elif scope["method"] == "OPTIONS" and origin and "access-control-request-method" in headers:
                await _plain(answer, 204 if origin in self.origins else 403, "")
            else:
                await self.app(scope, receive, answer)
        finally:
            self.on_done(scope, status, time.perf_counter() - began)

    def _is_known(self, host: str) -> bool:
        """Whether a request is meant for this server: a page elsewhere may have bent a name of its own to it."""
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        return self.any_host or name.strip("[]").lower() in self.hosts

    def _add_headers(self, headers: MutableHeaders, number: str, origin: str | None) -> None:
        headers["X-Request-Id"] = number
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Content-Security-Policy"] = POLICY
        headers.setdefault("Cache-Control", "no-store")
        if origin in self.origins:
            headers["Access-Control-Allow-Origin"] = str(origin)
            headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
            headers["Access-Control-Allow-Headers"] = ALLOWED
            headers["Access-Control-Expose-Headers"] = EXPOSED
        if self.origins:
            headers.add_vary_header("Origin")


async def _plain(send: Callable[[Message], Any], status: int, text: str) -> None:
    body = text.encode()
    pairs = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if status == 204:
        pairs = []
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
