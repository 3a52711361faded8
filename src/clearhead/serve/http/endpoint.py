"""From a handler that returns a JSON value, or refuses, to a route: keys, fields, errors in a dialect's shape."""

import contextlib
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from clearhead.serve.http.body import Fields, read_fields
from clearhead.serve.http.keys import Keys
from clearhead.serve.http.request_error import RequestError, error_of, too_many
from clearhead.serve.settings import ServeSettings
from clearhead.serve.work.service import Service

T = TypeVar("T")
LOG = logging.getLogger("clearhead.serve")
STREAM = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Shape:
    """How a dialect speaks of what is common to all."""

    name: str
    error: Callable[[RequestError], Any]
    """The body of an answer that is an error."""
    key: Callable[[Request, Fields], str]
    """The key that a request comes with; empty: none."""
    no_key: RequestError
    """What a request without a valid key is told."""


@dataclass
class Asked:
    """A request whose fields were read."""

    request: Request
    fields: Fields
    service: Service
    settings: ServeSettings
    headers: dict[str, str] = field(default_factory=dict)
    """What the answer says besides."""

    async def call(self, function: Callable[[], T]) -> T:
        """See ``Service.call``."""
        return await self.service.call(self.request.receive, function)


Handler = Callable[[Asked], Awaitable[Any]]
"""Returns a JSON value, or a Response."""


class Endpoints:
    """Makes the routes of a server."""

    def __init__(self, service: Service, settings: ServeSettings, keys: Keys) -> None:
        self.service, self.settings, self.keys = service, settings, keys
        self._using: Counter[int] = Counter()

    def of(self, shape: Shape, handler: Handler, *, reads: bool = True, free: bool = False) -> Any:
        """Returns the endpoint of a handler.

        Args:
            shape: of its dialect.
            handler: that answers.
            reads: whether the request may have a body.
            free: whether nobody needs a key.
        """

        async def endpoint(request: Request) -> Response:
            request.scope["dialect"] = shape.name
            try:
                fields = await read_fields(request, self.settings.max_body) if reads else Fields({})
                with contextlib.nullcontext() if free else self._using_key(shape, request, fields):
                    asked = Asked(request, fields, self.service, self.settings)
                    answer = await handler(asked)
                if isinstance(answer, Response):
                    answer.headers.update(asked.headers)
                    return answer
                return json_response(answer, headers=asked.headers)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as error:
                return self._refused(shape, error)

        return endpoint

    @contextlib.contextmanager
    def _using_key(self, shape: Shape, request: Request, fields: Fields) -> Iterator[None]:
        """Checks the key of a request, and counts it while the request runs."""
        if not self.keys:
            yield
            return
        owner = self.keys.owner(shape.key(request, fields))
        if owner is None:
            raise shape.no_key
        if self._using[owner] >= self.settings.key_limit:
            raise too_many(f"{self.settings.key_limit} requests with this key run already")
        self._using[owner] += 1
        try:
            yield
        finally:
            self._using[owner] -= 1

    def _refused(self, shape: Shape, error: Exception) -> Response:
        refusal = error_of(error)
        if refusal.status >= 500 and not isinstance(error, RequestError):
            LOG.error("%s: %s", type(error).__name__, error, exc_info=LOG.isEnabledFor(logging.DEBUG))
        status = 400 if refusal.status == 499 else refusal.status
        return json_response(shape.error(refusal), status=status, headers=dict(refusal.headers))


def json_response(tree: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Returns a JSON value as a response, Chinese as Chinese."""
    body = json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, status, headers, media_type="application/json")


def bearer(request: Request) -> str:
    """Returns the key of ``Authorization: Bearer KEY``."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def event(tree: Any) -> str:
    """Returns an event of a stream."""
    return f"data: {json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(',', ':'))}\n\n"


PING = ": ping\n\n"
"""A comment that keeps a connection open."""


def stream_response(events: AsyncIterator[str]) -> StreamingResponse:
    """Returns a stream of events."""
    return StreamingResponse(events, media_type="text/event-stream", headers=STREAM)
