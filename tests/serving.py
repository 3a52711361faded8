"""Servers of toy runs: one in a process of its own, as users run it, and a site in this one, asked without a socket."""

import asyncio
import atexit
import contextlib
import functools
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.limits import HANGS

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Answer:
    """What a server said; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events; a comment is none."""
        parts = [part for part in self.text.split("\n\n") if part and not part.startswith(":")]
        assert all(part.startswith("data: ") for part in parts), parts
        data = [part.removeprefix("data: ") for part in parts]
        return [each if each == "[DONE]" else json.loads(each) for each in data]


class Server:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log
        self.url = ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def said(self) -> str:
        """What it has said on stderr."""
        return self.log.read_text(encoding="utf-8")

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = 120,
    ) -> Answer:
        """Sends a request on a connection of its own; what is neither text nor bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        content, given = encoded(body, headers)
        try:
            connection.request(method, path, content, given)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any, **more: Any) -> Answer:
        return self.ask("POST", path, body, **more)

    def connect(self, timeout: float = 60) -> socket.socket:
        """Returns a connection that says nothing yet."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, content: bytes, timeout: float = 60) -> bytes:
        """Sends bytes as they are; returns all that comes until the server closes."""
        with self.connect(timeout) as connection:
            connection.sendall(content)
            return drained(connection)

    def metrics(self) -> dict[str, float]:
        """What it has counted, by the name and labels of a sample."""
        lines = [line for line in self.get("/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def await_metric(self, name: str, least: float, *, seconds: float = 60) -> float:
        """Waits until a count has come to ``least``."""
        deadline = time.monotonic() + seconds
        while (value := self.metrics().get(name, 0.0)) < least:
            assert time.monotonic() < deadline, f"{name} is {value}, not {least}"
            time.sleep(0.02)
        return value

    def await_rest(self, *, seconds: float = 20) -> None:
        """Waits until nothing is stepped."""
        deadline = time.monotonic() + seconds
        while rows := self.metrics()["clearhead_running_rows"]:
            assert time.monotonic() < deadline, f"{rows} rows are stepped"
            time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=HANGS)


def drained(connection: socket.socket) -> bytes:
    """Returns all that comes until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def encoded(body: Any, headers: Mapping[str, str] | None) -> tuple[bytes | None, dict[str, str]]:
    """Returns a request's body as bytes, and its headers."""
    given = dict(headers or {})
    if body is None or isinstance(body, bytes):
        return body, given
    if isinstance(body, str):
        return body.encode(), given
    return json.dumps(body).encode(), {**JSON, **given}


@contextlib.contextmanager
def serving(*runs: object, options: Sequence[object] = (), env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Yields a server that has loaded all its runs; it is ended afterwards, and must not have said of a fault."""
    words = ["serve", *runs, "--port", "0", "--json", *options]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "clearhead", *map(str, words)],
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})},
            )
        server = Server(process, log)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, f"the server ended with {process.wait(timeout=HANGS)}: {server.said}"
            server.url = json.loads(line)["url"]
            yield server
            assert "Traceback" not in server.said, server.said
        finally:
            process.stdout.close()
            if process.poll() is None:
                process.kill()
            process.wait(timeout=HANGS)


def resident(process: int) -> int:
    """Returns the bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# ------------------------------------------------------------------------------------------------ without a socket


class Asking:
    """Asks an ASGI application, in an event loop of its own, whose thread ends with it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        parts: Sequence[bytes] | None = None,
        gone_after: float | None = None,
    ) -> Answer:
        """Asks once.

        Args:
            method: of the request.
            path: with its query.
            body: see ``Server.ask``.
            headers: besides Host.
            parts: the body in parts, in place of ``body``.
            gone_after: seconds after which the client hangs up.
        """
        content, given = encoded(body, headers)
        sent = [content or b""] if parts is None else list(parts)
        return asyncio.run(self._ask(method, path, sent, {"host": "localhost", **given}, gone_after))

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.ask("POST", path, body, **more)

    async def _ask(
        self, method: str, path: str, sent: list[bytes], headers: Mapping[str, str], gone_after: float | None
    ) -> Answer:
        target, _, query = path.partition("?")
        pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": target,
            "raw_path": quote(target).encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": query.encode(),
            "headers": pairs,
            "client": ("127.0.0.1", 9),
            "server": ("127.0.0.1", 8400),
        }
        messages: list[Any] = []
        arriving, gone = iter(enumerate(sent, 1)), asyncio.Event()

        async def receive() -> Any:
            """As uvicorn does, whose connection several may listen to."""
            for number, part in arriving:
                return {"type": "http.request", "body": part, "more_body": number < len(sent)}
            if gone_after is not None:
                asyncio.get_running_loop().call_later(gone_after, gone.set)
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            messages.append(message)

        await asyncio.wait_for(self.app(scope, receive, send), HANGS)
        begin = [message for message in messages if message["type"] == "http.response.start"]
        assert len(begin) == 1, messages
        found = {name.decode("latin-1"): value.decode("latin-1") for name, value in begin[0].get("headers", [])}
        content = b"".join(each.get("body", b"") for each in messages if each["type"] == "http.response.body")
        return Answer(begin[0]["status"], found, content)


@functools.cache
def service_of_nobody() -> Any:
    """Returns a service without models, for tests of what stands around it; all share it."""
    from clearhead.serve.metrics import Metrics
    from clearhead.serve.settings import ServeSettings
    from clearhead.serve.work.service import Service

    service = Service(ServeSettings(threads=1), Metrics())
    atexit.register(service.close)
    return service


@contextlib.contextmanager
def site_of(runs: Sequence[object], **settings: Any) -> Iterator[Any]:
    """Yields a site in this process whose models are loaded.

    Args:
        runs: each a path, or ``NAME=PATH``.
        settings: see ``ServeSettings``.
    """
    from clearhead.serve.http.keys import read_keys
    from clearhead.serve.metrics import Metrics
    from clearhead.serve.models import Models
    from clearhead.serve.settings import ServeSettings
    from clearhead.serve.site import Site
    from clearhead.serve.work.service import Service

    wanted = ServeSettings(**{"threads": 1, **settings})
    metrics = Metrics()
    service = Service(wanted, metrics)
    try:
        models = Models([str(run) for run in runs], wanted, service)
        for served in models:
            service.lane.run(served.load)
        yield Site(wanted, models, service, metrics, read_keys(wanted.api_key))
    finally:
        service.close()


def asking(site: Any) -> Asking:
    """Returns what asks a site."""
    from clearhead.serve.app import application

    return Asking(application(site))


# --------------------------------------------------------------------------------------------------------- fixtures


@pytest.fixture(scope="session")
def toy_site(toy_run: Path, toy_lm_run: Path, toy_masked_run: Path) -> Iterator[Any]:
    """A site of this process with the models ``mt``, ``lm`` and ``bert``; LibreTranslate's files are on."""
    with site_of([f"mt={toy_run}", f"lm={toy_lm_run}", f"bert={toy_masked_run}"], files=True) as site:
        yield site


@pytest.fixture(scope="session")
def toy_asking(toy_site: Any) -> Asking:
    """Asks the site of ``toy_site``."""
    return asking(toy_site)


@pytest.fixture(scope="session")
def toy_server(toy_run: Path, toy_lm_run: Path, toy_masked_run: Path) -> Iterator[Server]:
    """A server in a process of its own with the models ``mt``, ``lm`` and ``bert``; no test may end it."""
    with serving(f"mt={toy_run}", f"lm={toy_lm_run}", f"bert={toy_masked_run}") as server:
        yield server


def at_once(count: int, function: Any) -> list[Any]:
    """Calls a function with 0, 1, ... in as many threads at once; returns what each gives, or its exception."""
    results: list[Any] = [None] * count
    start = threading.Barrier(count)

    def call(number: int) -> None:
        try:
            start.wait(HANGS)
            results[number] = function(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGS)
    return results
