"""Endpoints: keys and how many requests each may have, errors in a dialect's shape, streams by their first event."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from clearhead.errors import DataError, ModelError
from clearhead.serve.http.body import Fields
from clearhead.serve.http.endpoint import (
    PING,
    Asked,
    Endpoints,
    Shape,
    bearer,
    event,
    json_response,
    stream_response,
)
from clearhead.serve.http.keys import Keys
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.settings import ServeSettings
from tests.serving import Answer, Asking, service_of_nobody

SHAPE = Shape(
    "test",
    lambda error: {"wrong": error.message, "param": error.param},
    lambda request, fields: bearer(request),
    lambda key: RequestError(401, f"key {'unknown' if key else 'missing'}"),
)
ONE, TWO = "key-number-1", "key-number-2"


def asking_of(handler: Any, *, keys: tuple[str, ...] = (), limit: int = 2, **options: Any) -> tuple[Asking, Endpoints]:
    endpoints = Endpoints(service_of_nobody(), ServeSettings(key_limit=limit), Keys(list(keys)))
    route = Route("/x", endpoints.of(SHAPE, handler, **options), methods=["GET", "POST"])
    return Asking(Starlette(routes=[route])), endpoints


def with_key(key: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {key}"}


def test_a_value_becomes_json_with_the_headers_that_were_added() -> None:
    async def handler(asked: Asked) -> Any:
        asked.headers["X-Extra"] = "1"
        return {"got": asked.fields.text("a"), "owner": asked.owner}

    found = asking_of(handler)[0].post("/x", {"a": "我"})
    assert found.text == '{"got":"我","owner":null}'
    assert found.headers["x-extra"] == "1"
    assert found.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RequestError(418, "tea", param="pot", headers={"X-Pot": "1"}), 418, "tea"),
        (DataError("bad text"), 400, "bad text"),
        (ModelError("/inside"), 500, "the model could not answer this request"),
        (ZeroDivisionError("inside"), 500, "the server could not answer this request"),
    ],
)
def test_errors_have_the_shape_of_the_dialect(error: Exception, status: int, message: str) -> None:
    async def handler(asked: Asked) -> Any:
        raise error

    found = asking_of(handler)[0].post("/x", {})
    assert (found.status, found.json["wrong"]) == (status, message)
    assert found.headers.get("x-pot") == ("1" if status == 418 else None)
    refused = asking_of(handler)[0].post("/x", b"{", headers={"Content-Type": "application/json"})
    assert refused.status == 400
    assert refused.json["wrong"].startswith("the body is not JSON")


def test_a_client_that_has_gone_is_counted_as_such() -> None:
    async def handler(asked: Asked) -> Any:
        raise ClientDisconnect

    assert asking_of(handler)[0].post("/x", {}).status == 499


async def owner_of(asked: Asked) -> Any:
    return {"owner": asked.owner}


def test_keys_are_asked_for_where_there_are_any() -> None:
    asking, _ = asking_of(owner_of, keys=(ONE, TWO))
    assert asking.get("/x").json["wrong"] == "key missing"
    assert asking.get("/x", headers=with_key("nobody's")).json["wrong"] == "key unknown"
    assert asking.get("/x", headers=with_key(ONE, "Basic")).status == 401
    assert asking.get("/x", headers=with_key(TWO, "bearer")).json == {"owner": 1}
    assert asking_of(owner_of, keys=(ONE,), free=True)[0].get("/x").json == {"owner": None}
    assert asking_of(owner_of)[0].get("/x", headers=with_key("any")).json == {"owner": None}


def test_a_route_that_reads_nothing_reads_nothing() -> None:
    async def handler(asked: Asked) -> Any:
        return dict(asked.fields.tree)

    assert asking_of(handler, reads=False)[0].post("/x", {"a": 1}).json == {}


def test_another_reader_reads() -> None:
    async def reader(request: Any, most: int) -> Fields:
        return Fields({"most": most})

    async def handler(asked: Asked) -> Any:
        return dict(asked.fields.tree)

    assert asking_of(handler, reader=reader)[0].post("/x", {}).json == {"most": 131_072}


def together(asking: Asking, count: int, key: str) -> list[int]:
    """Returns the statuses of requests that run at once in one event loop."""

    async def ask() -> list[Answer]:
        headers = {"host": "localhost", **with_key(key)}
        return await asyncio.gather(*(asking._ask("POST", "/x", [b"{}"], headers, None) for _ in range(count)))

    return sorted(answer.status for answer in asyncio.run(ask()))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_key_has_so_many_requests_at_once_until_they_are_answered_to_the_end(streamed: bool) -> None:
    async def events() -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0.05)
            yield event({"number": number})

    async def handler(asked: Asked) -> Any:
        if streamed:
            return await stream_response(events(), SHAPE.error)
        await asyncio.sleep(0.15)
        return {}

    asking, endpoints = asking_of(handler, keys=(ONE, TWO), limit=2)
    assert together(asking, 5, ONE) == [200, 200, 429, 429, 429]
    assert together(asking, 2, TWO) == [200, 200], "they are another's"
    assert together(asking, 2, ONE) == [200, 200], "they have ended"
    assert not any(endpoints._using.values())


def test_a_key_is_released_whatever_happens() -> None:
    async def handler(asked: Asked) -> Any:
        raise ZeroDivisionError

    asking, endpoints = asking_of(handler, keys=(ONE,), limit=1)
    for _ in range(3):
        assert asking.get("/x", headers=with_key(ONE)).status == 500
    assert not any(endpoints._using.values())


def stream(events: Callable[[], AsyncIterator[str]]) -> Answer:
    async def handler(asked: Asked) -> Any:
        return await stream_response(events(), SHAPE.error)

    return asking_of(handler)[0].post("/x", {})


def test_a_stream_has_its_headers_and_events() -> None:
    async def events() -> AsyncIterator[str]:
        yield event({"a": "我"})
        yield PING
        yield "data: [DONE]\n\n"

    found = stream(events)
    assert found.events == [{"a": "我"}, "[DONE]"]
    assert found.headers["content-type"].startswith("text/event-stream")
    assert found.headers["cache-control"] == "no-store"
    assert found.headers["x-accel-buffering"] == "no"


def test_what_goes_wrong_before_the_first_event_has_its_own_status() -> None:
    async def events() -> AsyncIterator[str]:
        raise RequestError(429, "too many")
        yield ""

    found = stream(events)
    assert (found.status, found.json["wrong"]) == (429, "too many")


def test_what_goes_wrong_later_is_the_last_event() -> None:
    async def events() -> AsyncIterator[str]:
        yield event({"a": 1})
        raise ModelError("inside")

    found = stream(events)
    assert found.status == 200
    assert found.events == [{"a": 1}, {"wrong": "the model could not answer this request", "param": None}]


def test_json_has_no_infinity() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_response(float("inf"))
    assert json.loads(event({"a": 1}).removeprefix("data: ")) == {"a": 1}
