"""The protocol: what is too slow is told so and cut off, what is sent is not lost, nothing holds a connection."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from clearhead.serve.http import protocol
from clearhead.serve.http.protocol import QuietServer, protocol_within
from tests.serving import drained

DEADLINE = 0.4
LENGTH = 4_000_000


async def echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def early(request: Request) -> Response:
    return PlainTextResponse("no", 413, headers={"Connection": "close"})


async def much(request: Request) -> Response:
    async def parts() -> Any:
        for _ in range(LENGTH // 1000):
            yield b"x" * 1000

    return StreamingResponse(parts())


class Running:
    """A server of a thread, with a place to look at its connections."""

    def __init__(self, limit: int | None) -> None:
        routes = [
            Route("/", echo, methods=["GET", "POST"]),
            Route("/early", early, methods=["POST"]),
            Route("/much", much),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), http=protocol_within(DEADLINE), log_config=None, lifespan="off", ws="none",
            timeout_keep_alive=2, h11_max_incomplete_event_size=16_384, limit_concurrency=limit, loop="asyncio",
        )  # fmt: skip
        self.server = QuietServer(config)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],))
        self.thread.start()

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.socket.getsockname(), timeout=30)

    def await_connections(self, count: int) -> None:
        deadline = time.monotonic() + 20
        while self.connections != count:
            assert time.monotonic() < deadline, f"{self.connections} connections, not {count}"
            time.sleep(0.01)


@contextlib.contextmanager
def running(limit: int | None = None) -> Iterator[Running]:
    server = Running(limit)
    try:
        yield server
    finally:
        server.server.should_exit = server.server.force_exit = True
        server.thread.join(30)
        server.socket.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as one:
        yield one


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No protocol may fail: asyncio tells of it in its log."""
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        yield
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


def slowly(connection: socket.socket, content: bytes, pause: float = 0.05) -> bytes:
    """Sends a byte at a time until the server has had enough; returns what it said."""
    for at in range(len(content)):
        try:
            connection.sendall(content[at : at + 1])
        except OSError:
            break
        time.sleep(pause)
    return drained(connection)


HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
SLOW = {
    "headers": (b"", HEAD * 2),
    "a header without end": (HEAD, b"X: " + b"y" * 100),
    "a body": (HEAD + b"\r\n", b"z" * 100),
    "chunks": (HEAD.replace(b"Content-Length: 100", b"Transfer-Encoding: chunked") + b"\r\n", b"1\r\nz\r\n" * 30),
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_slow_request_is_told_so_and_cut_off(kind: str, server: Running) -> None:
    at_once, rest = SLOW[kind]
    started = time.monotonic()
    with server.connect() as connection:
        connection.sendall(at_once)
        said = slowly(connection, rest)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert said.endswith(b"in time")
    assert DEADLINE <= time.monotonic() - started < 10
    server.await_connections(0)


def test_a_connection_that_says_nothing_is_closed_without_a_word(server: Running) -> None:
    with server.connect() as connection:
        assert drained(connection) == b""
    server.await_connections(0)


def test_a_request_behind_another_has_a_deadline_too(server: Running) -> None:
    first = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for second in (HEAD, HEAD + b"\r\nz"):
        with server.connect() as connection:
            connection.sendall(first + second)
            said = drained(connection)
        assert said.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in said
    server.await_connections(0)


def test_requests_in_a_row_each_have_their_own(server: Running) -> None:
    with server.connect() as connection:
        for _ in range(5):
            connection.sendall(HEAD)
            time.sleep(DEADLINE / 2)
            connection.sendall(b"\r\n" + b"z" * 100)
            said = b""
            while not said.endswith(b"\r\n\r\n100"):
                said += connection.recv(65536)
            time.sleep(DEADLINE / 2)


def test_an_early_answer_is_read_by_who_is_still_sending(server: Running) -> None:
    """A connection that is closed while bytes come in is reset, and the answer lost with it."""
    head = b"POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n"
    for _ in range(10):
        with server.connect() as connection:
            connection.sendall(head)
            with contextlib.suppress(OSError):
                connection.sendall(b"z" * 3_000_000)
            said = drained(connection)
        assert said.startswith(b"HTTP/1.1 413 ")
        assert said.endswith(b"no")
    server.await_connections(0)


def test_who_goes_on_sending_after_a_refusal_is_cut_off(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER", 0.2)
    with server.connect() as connection:
        connection.sendall(b"POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n")
        started = time.monotonic()
        with contextlib.suppress(OSError):  # reset, or a broken pipe
            while time.monotonic() - started < 20:
                connection.sendall(b"z" * 1000)
                time.sleep(0.05)
        assert time.monotonic() - started < 10
    server.await_connections(0)


def test_who_does_not_take_an_answer_is_cut_off(server: Running) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.await_connections(1)
        server.await_connections(0)


def test_who_takes_it_slowly_is_not(server: Running) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        taken, started = 0, time.monotonic()
        while part := connection.recv(400_000):
            taken += len(part)
            time.sleep(0.1 if time.monotonic() - started < 4 * DEADLINE else 0)
    assert taken > LENGTH


NOT_HTTP = {
    "noise": b"\x00\x01\x02\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "blank lines": b"\r\n\r\n\r\n",
    "a header with a space": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
}


@pytest.mark.parametrize("kind", NOT_HTTP)
def test_what_is_no_http_is_told_so(kind: str, server: Running) -> None:
    with server.connect() as connection:
        with contextlib.suppress(OSError):
            connection.sendall(NOT_HTTP[kind])
        assert drained(connection).startswith(b"HTTP/1.1 400 ") or kind == "a long header"
    server.await_connections(0)


def test_a_body_that_goes_wrong_while_it_is_read_harms_nobody(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n")
        time.sleep(0.1)
        connection.sendall(b"no length\r\n")
        assert drained(connection).startswith(b"HTTP/1.1 400 ")
    with server.connect() as connection:  # the answer is on its way
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n\x00\x00\r\n\r\n")
        said = drained(connection)
    assert b"HTTP/1.1 200 " in said
    server.await_connections(0)


def test_too_many_connections_are_told_so_and_far_too_many_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SPARE", 3)
    with running(limit=3) as server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(7)]
        time.sleep(0.1)
        said = []
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        for connection in connections:
            said.append(drained(connection)[:12])
        assert said[-1] == b"", "cut off"
        assert said[0] in (b"HTTP/1.1 503", b"HTTP/1.1 200")
        assert b"HTTP/1.1 503" in said


def test_the_head_of_an_answer_goes_out_with_its_body(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    written, write = list[bytes](), protocol._Transport.write

    class Real:
        def __init__(self, real: Any) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def write(self, data: bytes) -> None:
            written.append(data)
            self.real.write(data)

    def seen(transport: Any, data: bytes) -> None:
        if not isinstance(transport.real, Real):
            transport.real = Real(transport.real)
        write(transport, data)

    monkeypatch.setattr(protocol._Transport, "write", seen)
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        connection.recv(1000)
        assert next(data for data in written if data).endswith(b"\r\n\r\n3")
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert drained(connection).endswith(b"\r\n\r\n"), "without a body it goes out too"


def test_the_server_leaves_signals_alone() -> None:
    with QuietServer(uvicorn.Config(lambda: None)).capture_signals():
        pass
    assert asyncio.get_event_loop_policy() is not None
