"""How a server is run."""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from clearhead.errors import UsageError

Dialect = Literal["openai", "libretranslate", "deepl"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#@]+/?", re.IGNORECASE)
HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252})|\[?[0-9a-f:.]+\]?", re.IGNORECASE)


@dataclass(frozen=True)
class ServeSettings:
    """What ``clearhead serve`` is told."""

    host: str = "127.0.0.1"
    port: int = 8400
    """0 takes a free one."""
    api_key: Path | None = None
    """A file with one key a line; without it nobody needs a key."""
    open: bool = False
    """Whether others than this machine may ask without a key."""
    allow_host: tuple[str, ...] = ()
    """Names in a request's Host besides those of this machine."""
    allow_origin: tuple[str, ...] = ()
    """Origins of pages that may ask, such as ``https://example.org``."""
    max_body: int = 131_072
    """Most bytes of a request."""
    max_pieces: int = 16_384
    """Most pieces of all texts of a request."""
    queue: int = 256
    """Most texts that wait; one more is refused (429)."""
    rows: int = 256
    """Most hypotheses and texts that are stepped together."""
    timeout: float = 60.0
    """Seconds that a request may wait (503), and that it may then take (504)."""
    receive_deadline: float = 10.0
    """Seconds that a client may take to send a request (408)."""
    graceful: float = 20.0
    """Seconds that running requests have to end once the server is told to."""
    key_limit: int = 32
    """Most requests at once with one key."""
    threads: int = 0
    """Threads that compute; 0: as many as the machine has cores."""
    reload: bool = False
    """Whether a better checkpoint of a run takes the place of the one that is served."""
    page: bool = True
    """Whether there is a page for people."""
    files: bool = False
    """Whether LibreTranslate's translation of files is on."""
    dialects: tuple[Dialect, ...] = field(default=DIALECTS)
    weights: Literal["float32", "bfloat16", "int8", "int4"] = "float32"

    def __post_init__(self) -> None:
        """Refuses what no request could ever have.

        Raises:
            UsageError: a host has a port, or an origin is none.
        """
        for host in self.allow_host:
            if not HOST.fullmatch(host):
                raise UsageError(f"--allow-host {host!r}: must be a name or address alone, such as example.org")
        for origin in self.allow_origin:
            if not ORIGIN.fullmatch(origin):
                raise UsageError(f"--allow-origin {origin!r}: must be a scheme and a host, such as https://example.org")

    @property
    def spoken(self) -> tuple[str, ...]:
        """The dialects, and the native interface where there is a page that needs it."""
        return (*self.dialects, *["native"] * self.page)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return self.host in LOOPBACK or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name
