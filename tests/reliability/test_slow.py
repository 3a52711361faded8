"""Clients that are too slow: those that send headers or bodies a byte at a time, say nothing, or do not read."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.asking import all_at_once, endless, request_bytes, status_of
from tests.serving import Server, serving

DEADLINE = 1.0
HEAD = b"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n"


@pytest.fixture(scope="module")
def hurried(toy_run: Path) -> Iterator[Server]:
    """A server that gives a client a second."""
    with serving(f"mt={toy_run}", options=["--receive-deadline", DEADLINE]) as server:
        yield server


async def slowly(port: int, at_once: bytes, rest: bytes) -> bytes:
    """Sends bytes one by one until the server has had enough; returns what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(at_once)
    reading = asyncio.ensure_future(reader.read(-1))
    try:
        for byte in rest:
            if reading.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.1)
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(reading, 60)
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def at_once(server: Server, request: bytes) -> bytes:
    """Sends bytes and returns all that comes; from a thread, so that it is not late by what other clients do."""
    with server.connect() as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


KINDS = {"headers": (b"", HEAD * 3), "a body": (HEAD + b"\r\n", b"{" * 500)}


@pytest.mark.parametrize("count", [50, pytest.param(400, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", KINDS)
def test_slow_clients_are_told_so_and_hold_nobody_up(kind: str, count: int, hurried: Server) -> None:
    good = request_bytes("POST", "/translate", {"q": "我们", "source": "zh", "target": "en"})

    async def ask(number: int) -> tuple[int, float]:
        started = time.monotonic()
        answer = await (slowly(hurried.port, *KINDS[kind]) if number else asyncio.to_thread(at_once, hurried, good))
        return status_of(answer), time.monotonic() - started

    (first, _), *slow = all_at_once(range(count + 1), ask, count + 1)
    assert first == 200
    assert {status for status, _ in slow} == {408}
    assert all(DEADLINE <= seconds < 30 for _, seconds in slow)


def test_connections_that_say_nothing_are_let_go(hurried: Server) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(hurried.connect()) for _ in range(50)]
        assert [connection.recv(100) for connection in silent] == [b""] * 50


def test_who_does_not_read_is_let_go(toy_lm_run: Path) -> None:
    """What it is sent waits for it in buffers; once these are full, the server waits no longer than for a request."""
    body = {
        "model": "lm",
        "prompt": "我" * 10,
        "max_tokens": 16_000,
        "stream": True,
        "logprobs": 5,
        "logit_bias": endless(toy_lm_run),
    }
    with serving(f"lm={toy_lm_run}", options=["--receive-deadline", DEADLINE]) as server:
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                connection = stack.enter_context(server.connect())
                connection.setsockopt(1, 8, 4096)  # SOL_SOCKET, SO_RCVBUF
                connection.sendall(request_bytes("POST", "/v1/completions", body))
            server.await_metric('clearhead_cancelled_total{reason="disconnect"}', 3)
        server.await_rest()
