"""From a handler that returns a JSON value, or refuses, to a route: keys, fields, errors in a dialect's shape."""

import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from clearhead.serve.http.body import Fields, read_fields
from clearhead.serve.http.keys import Keys
from clearhead.serve.http.request_error import RequestError, TooManyPiecesError, error_of, too_many
from clearhead.serve.settings import ServeSettings
from clearhead.serve.work.service import Service
from clearhead.tasks.native import NativeUser
from clearhead.tasks.translation.search.native import Searching
from clearhead.tasks.translation.texts import TextTranslator

T = TypeVar("T")
ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
LOG = logging.getLogger("clearhead.serve")
STREAM = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
CLIENT_GONE = 499
"""The status of a request whose client went before the answer; only counts show it."""


@dataclass(frozen=True)
class Shape:
    """How a dialect speaks of what is common to all."""

    name: str
    error: Callable[[RequestError], Any]
    """The body of an answer that is an error."""
    key: Callable[[Request, Fields], str]
    """The key that a request comes with; empty: none."""
    no_key: Callable[[str], RequestError]
    """What a request is told whose key, or lack of one, is not valid."""


@dataclass
class Asked:
    """A request whose fields were read."""

    request: Request
    fields: Fields
    service: Service
    settings: ServeSettings
    owner: int | None = None
    """Whose key it came with; None where nobody needs one."""
    headers: dict[str, str] = field(default_factory=dict)
    """What the answer says besides."""
    began: float = field(default_factory=time.perf_counter)

    def check_size(self, pieces: int) -> None:
        """Refuses a request whose texts have too many pieces.

        Raises:
            TooManyPiecesError: they have.
        """
        if pieces > self.settings.max_pieces:
            raise TooManyPiecesError(pieces, self.settings.max_pieces)

    async def call(self, function: Callable[[], T]) -> T:
        """See ``Service.call``."""
        return await self.service.call(self.request.receive, function)

    async def call_on_lane(self, function: Callable[[], T], model: NativeUser | None = None) -> T:
        """See ``Service.call_on_lane``; the lane is that of a model, or PyTorch's."""
        lane = self.service.lane if model is None else self.service.lane_of(model)
        return await self.service.call_on_lane(self.request.receive, function, lane)

    async def carry_out(self, translator: TextTranslator, searching: Searching[T], size: int, **told: Any) -> T:
        """See ``Service.carry_out``."""
        return await self.service.carry_out(self.request.receive, translator, searching, size, **told)


Handler = Callable[[Asked], Awaitable[Any]]
"""Returns a JSON value, or a Response."""
Reader = Callable[[Request, int], Awaitable[Fields]]
"""Reads the fields of a request of at most so many bytes."""


class Endpoints:
    """Makes the routes of a server."""

    def __init__(self, service: Service, settings: ServeSettings, keys: Keys) -> None:
        self.service, self.settings, self.keys = service, settings, keys
        self._using: Counter[int] = Counter()

    def of(
        self, shape: Shape, handler: Handler, *, reads: bool = True, free: bool = False, reader: Reader = read_fields
    ) -> Any:
        """Returns the endpoint of a handler.

        Args:
            shape: of its dialect.
            handler: that answers.
            reads: whether the request may have a body.
            free: whether nobody needs a key.
            reader: of the body.
        """

        async def endpoint(request: Request) -> Response:
            request.scope["dialect"] = shape.name
            owner = None
            try:
                fields = await reader(request, self.settings.max_body) if reads else Fields({})
                owner = None if free else self._take(shape, request, fields)
                asked = Asked(request, fields, self.service, self.settings, owner)
                answer = await handler(asked)
                response = answer if isinstance(answer, Response) else json_response(answer)
                response.headers.update(asked.headers)
            except ClientDisconnect:
                response = Response(status_code=CLIENT_GONE)
            except Exception as error:
                response = self._refused(shape, error)
            except BaseException:
                self._release(owner)
                raise
            return response if owner is None else _Held(response, lambda: self._release(owner))

        return endpoint

    def _take(self, shape: Shape, request: Request, fields: Fields) -> int | None:
        """Checks the key of a request, and counts the request until it is answered to the end."""
        if not self.keys:
            return None
        key = shape.key(request, fields)
        owner = self.keys.owner(key)
        if owner is None:
            raise shape.no_key(key)
        if self._using[owner] >= self.settings.key_limit:
            raise too_many(f"{self.settings.key_limit} requests with this key run already")
        self._using[owner] += 1
        return owner

    def _release(self, owner: int | None) -> None:
        if owner is not None:
            self._using[owner] -= 1

    def _refused(self, shape: Shape, error: Exception) -> Response:
        refusal = error_of(error)
        if refusal.status >= 500 and not isinstance(error, RequestError):
            LOG.error("%s: %s", type(error).__name__, error, exc_info=LOG.isEnabledFor(logging.DEBUG))
        return json_response(shape.error(refusal), status=refusal.status, headers=dict(refusal.headers))


class _Held(Response):
    """An answer, a stream perhaps, after which something is released.

    Args:
        answer: that is sent.
        release: called once it is sent, or its client has gone.
    """

    def __init__(self, answer: Response, release: Callable[[], object]) -> None:
        self.answer, self.release = answer, release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        try:
            await self.answer(scope, receive, send)
        finally:
            self.release()


def json_response(tree: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Returns a JSON value as a response, Chinese as Chinese."""
    body = ENCODER.encode(tree).encode()
    return Response(body, status, headers, media_type="application/json")


def bearer(request: Request) -> str:
    """Returns the key of ``Authorization: Bearer KEY``."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def event(tree: Any) -> str:
    """Returns an event of a stream."""
    return f"data: {ENCODER.encode(tree)}\n\n"


PING = ": ping\n\n"
"""A comment that keeps a connection open."""


async def stream_response(events: AsyncIterator[str], error: Callable[[RequestError], Any]) -> StreamingResponse:
    """Returns a stream of events, once the first is there: what goes wrong before it is an answer with its own status.

    Args:
        events: of the answer.
        error: the shape of an error, which the stream ends with if it comes later.

    Raises:
        Exception: the first event is one.
    """
    first = await anext(events, "")

    async def all_of_them() -> AsyncIterator[str]:
        yield first
        try:
            async for each in events:
                yield each
        except Exception as found:
            yield event(error(error_of(found)))

    return StreamingResponse(all_of_them(), media_type="text/event-stream", headers=STREAM)
