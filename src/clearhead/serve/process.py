"""A server as a process: its socket, its signals, its end."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence

import uvicorn

from clearhead.errors import ClearheadError, UsageError
from clearhead.serve.app import application
from clearhead.serve.http.keys import read_keys
from clearhead.serve.http.protocol import QuietServer, protocol_within
from clearhead.serve.metrics import Metrics
from clearhead.serve.models import Models
from clearhead.serve.settings import ServeSettings
from clearhead.serve.site import Site
from clearhead.serve.work.service import Service

CONNECTIONS = 600
HEADERS = 16_384
"""Most bytes of a request's line and headers."""
SWITCH = 2e-4
"""Seconds after which a thread makes way for another that waits."""
YOUNG = 10_000
"""Objects after which the collector looks through the newest."""
M_ARENA_MAX, ARENAS = -8, 2  # from glibc's malloc.h
LOOK = 2.0
"""Seconds between two looks at what is served."""
Say = Callable[[str], object]


def serve(paths: Sequence[str], settings: ServeSettings, say: Say, on_ready: Callable[[str], object]) -> None:
    """Serves models until a signal ends it: SIGTERM or SIGINT; SIGHUP loads what has changed.

    Args:
        paths: runs or files, see ``Models``.
        settings: how.
        say: told lines for who runs the server.
        on_ready: told the server's address once all models are loaded.

    Raises:
        UsageError: a setting is wrong, or the address is taken.
        ModelError: a model cannot be loaded.
    """
    check_open(settings)
    tune()
    keys, metrics = read_keys(settings.api_key), Metrics()
    service = Service(settings, metrics)
    try:
        site = Site(settings, Models(paths, settings, service), service, metrics, keys)
        with bound(settings) as listening:
            Process(site, listening, say, on_ready).run()
    finally:
        service.close()


def tune() -> None:
    """Sets what a server needs otherwise than a program of one thread does.

    The engine's thread comes back to Python a thousand times a second, and would wait for each busy thread for the
    5 ms after which Python asks one to make way. And glibc gives threads memory of their own, up to eight times the
    cores, which each of them keeps.
    """
    sys.setswitchinterval(SWITCH)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def settle() -> None:
    """Takes what is there for good out of the hands of the collector, which answers nobody while it looks through it.

    What a server makes of requests goes with them, nearly all of it without the collector.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


def check_open(settings: ServeSettings) -> None:
    """Refuses to serve everybody without a key, unless that is what is wanted."""
    if not settings.is_local and settings.api_key is None and not settings.open:
        raise UsageError(
            f"--host {settings.host}: others than this machine could ask: name keys by --api-key FILE, or say --open"
        )


def bound(settings: ServeSettings) -> socket.socket:
    """Returns a socket that has the server's address.

    Raises:
        UsageError: there is no such address, or it is taken.
    """
    listening: socket.socket | None = None
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise UsageError(f"--host {settings.host} --port {settings.port}: {error.strerror or error}") from None
    return listening


def address_of(listening: socket.socket) -> str:
    """Returns the URL of a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Process:
    """Runs a site on its socket.

    Args:
        site: what is served.
        listening: the socket, which is bound.
        say: see ``serve``.
        on_ready: likewise.
    """

    def __init__(self, site: Site, listening: socket.socket, say: Say, on_ready: Callable[[str], object]) -> None:
        self.site, self.listening, self.say, self.on_ready = site, listening, say, on_ready
        settings = site.settings
        self.server = QuietServer(
            uvicorn.Config(
                application(site),
                http=protocol_within(settings.receive_deadline),
                loop="asyncio",
                ws="none",
                lifespan="off",
                access_log=False,
                server_header=False,
                log_config=None,
                timeout_keep_alive=5,
                h11_max_incomplete_event_size=HEADERS,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=max(1, round(settings.graceful)),
                backlog=1024,
            )
        )
        self._error: Exception | None = None

    def run(self) -> None:
        """Serves until the end; raises what kept a model from being loaded."""
        asyncio.run(self._run())
        if self._error is not None:
            raise self._error

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        changed = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, changed.set)
        load = loop.create_task(self._load(changed))
        try:
            await self.server.serve([self.listening])
        finally:
            load.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await load

    def _stop(self) -> None:
        if self.server.should_exit:
            self.server.force_exit = True  # a second signal ends it at once
        self.server.should_exit = True

    async def _load(self, changed: asyncio.Event) -> None:
        """Loads all models, then what has changed of them."""
        try:
            for served in self.site.models:
                await asyncio.to_thread(self.site.service.lane.run, served.load)
            settle()
        except ClearheadError as error:
            self._error = error
            self.server.should_exit = True
            return
        self.on_ready(address_of(self.listening))
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), LOOK if self.site.settings.reload else None)
            changed.clear()
            for served in self.site.models:
                said = await asyncio.to_thread(self.site.service.lane.run, served.reload)
                if said:
                    settle()
                    self.say(said)


def quiet_uvicorn() -> None:
    """Keeps uvicorn's own messages of hostile requests away from the terminal."""
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
