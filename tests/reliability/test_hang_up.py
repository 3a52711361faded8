"""Clients that hang up cost no further step; a server that is told to end lets those that run come to their end."""

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.limits import HANGS
from tests.reliability.asking import body_of, endless, header_of, request_bytes, status_of
from tests.serving import Server, drained, serving

ENDLESS: dict[str, Any] = {"model": "lm", "prompt": "我们", "max_tokens": 16_000, "stream": True}
STEPS, ROWS = "clearhead_batch_rows_count", "clearhead_running_rows"
GONE = 'clearhead_cancelled_total{reason="disconnect"}'


@pytest.fixture(scope="module")
def server(toy_run: Path, toy_lm_run: Path) -> Iterator[Server]:
    with serving(f"mt={toy_run}", f"lm={toy_lm_run}", options=["--timeout", HANGS]) as one:
        yield one


def begun(server: Server, path: str, body: Any) -> socket.socket:
    """Returns a connection whose request has been sent."""
    connection = server.connect()
    connection.sendall(request_bytes("POST", path, body))
    return connection


def read_until(connection: socket.socket, count: int) -> bytes:
    """Reads so many events of a stream."""
    found = b""
    while found.count(b"data: ") < count:
        part = connection.recv(65536)
        assert part, found
        found += part
    return found


def assert_at_rest(server: Server, gone: float) -> None:
    """Waits until those that have gone are counted; then no further step is taken."""
    server.await_metric(GONE, gone)
    server.await_rest()
    before = server.metrics()
    time.sleep(0.3)
    assert server.metrics()[STEPS] == before[STEPS]


@pytest.mark.parametrize("stream", [True, False])
def test_who_hangs_up_costs_no_further_step(stream: bool, server: Server, toy_lm_run: Path) -> None:
    before = server.metrics().get(GONE, 0.0)
    body = {**ENDLESS, "stream": stream, "logit_bias": endless(toy_lm_run)}
    with begun(server, "/v1/completions", body) as connection:
        if stream:
            read_until(connection, 3)
        else:
            server.await_metric(ROWS, 1)
    assert_at_rest(server, before + 1)


def test_a_long_translation_stops_too(server: Server) -> None:
    before = server.metrics().get(GONE, 0.0)
    body = {"text": ["我们今天在家。她在吗？" * 90] * 8, "target_lang": "EN-US", "beam": 16}
    with begun(server, "/v2/translate", body):
        server.await_metric(ROWS, 1)
    assert_at_rest(server, before + 1)


def test_many_that_hang_up_leave_nothing(server: Server, toy_lm_run: Path) -> None:
    before, body = server.metrics().get(GONE, 0.0), {**ENDLESS, "logit_bias": endless(toy_lm_run)}
    with contextlib.ExitStack() as stack:
        stays = stack.enter_context(begun(server, "/v1/completions", {**ENDLESS, "max_tokens": 300, "seed": 1}))
        with contextlib.ExitStack() as others:
            for _ in range(20):
                read_until(others.enter_context(begun(server, "/v1/completions", body)), 2)
        whole = drained(stays)
    assert body_of(whole).endswith(b"data: [DONE]\n\n"), "a mate loses nothing by it"
    assert_at_rest(server, before + 20)


def test_a_text_that_takes_too_long_is_ended(toy_lm_run: Path) -> None:
    body = {**ENDLESS, "max_tokens": 16_000, "n": 8, "logit_bias": endless(toy_lm_run)}
    with serving(f"lm={toy_lm_run}", options=["--timeout", "0.4"]) as server:
        with begun(server, "/v1/completions", body) as connection:
            last = body_of(drained(connection)).split(b"\n\n")[-2]
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "timeout"
        with begun(server, "/v1/completions", {**body, "stream": False}) as connection:
            answer = drained(connection)
        assert status_of(answer) == 504
        assert header_of(answer, "x-should-retry") == "false"
        server.await_metric('clearhead_cancelled_total{reason="time"}', 2)


# ------------------------------------------------------------------------------------------------------------- drain


def await_refusal(server: Server) -> None:
    """Waits until the server takes no new connection."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            server.connect(1).close()
        except OSError:
            break
        time.sleep(0.02)
    with pytest.raises(OSError, match="refused"):
        server.connect(1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_comes_to_its_end(number: int, toy_lm_run: Path) -> None:
    body = {**ENDLESS, "max_tokens": 1500, "logit_bias": endless(toy_lm_run)}
    with serving(f"lm={toy_lm_run}", options=["--graceful", "300", "--timeout", "300"]) as server:
        with begun(server, "/v1/completions", body) as connection:
            first = read_until(connection, 2)
            server.process.send_signal(number)
            await_refusal(server)
            whole = body_of(first + drained(connection))
        assert whole.endswith(b"data: [DONE]\n\n")
        assert whole.count(b'"finish_reason":"length"') == 1
        assert server.process.wait(HANGS) == 0
        assert server.said.count("\n") <= 1


def test_what_does_not_end_in_time_is_ended(toy_lm_run: Path) -> None:
    body = {**ENDLESS, "n": 8, "logit_bias": endless(toy_lm_run)}
    with serving(f"lm={toy_lm_run}", options=["--graceful", "1", "--timeout", "300"]) as server:
        with begun(server, "/v1/completions", body) as connection:
            read_until(connection, 2)
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert b"[DONE]" not in drained(connection)
        assert server.process.wait(HANGS) == 0
        assert time.monotonic() - started < 60


def test_a_second_signal_ends_it_at_once(toy_lm_run: Path) -> None:
    body = {**ENDLESS, "n": 8, "logit_bias": endless(toy_lm_run)}
    options = ["--graceful", "300", "--timeout", "300"]
    with (
        serving(f"lm={toy_lm_run}", options=options) as server,
        begun(server, "/v1/completions", body) as connection,
    ):
        read_until(connection, 2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
