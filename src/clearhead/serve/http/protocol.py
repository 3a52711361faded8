"""HTTP/1.1 for clients that may be slow or hostile: requests arrive, and answers are taken, within a deadline."""

import asyncio
import contextlib
import fcntl
import sys
import termios
from typing import Any

import h11
from uvicorn import Server
from uvicorn.protocols.http.h11_impl import H11Protocol

LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 32\r\n\r\nThe request did not come in time"
)
LINGER = 2.0
"""Seconds in which what a refused client still sends is read, so that it comes to read the refusal."""
SPARE = 200
"""Connections beyond the limit that are told so; more are cut off."""


class _Transport:
    """A connection whose end does not take back what was said: a client that is still sending would see a reset.

    Args:
        real: what sends.
        protocol: whose connection it is.
    """

    def __init__(self, real: asyncio.Transport, protocol: "Deadline") -> None:
        self.real, self._protocol, self.lingers = real, protocol, False
        self._written, self._head = 0, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    @property
    def taken(self) -> int:
        """Bytes that the client has taken so far; where this system does not tell, that it has taken itself."""
        waiting = bytearray(4)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            fcntl.ioctl(self.real.get_extra_info("socket").fileno(), termios.TIOCOUTQ, waiting)
        return self._written - self.real.get_write_buffer_size() - int.from_bytes(waiting, sys.byteorder)

    def write(self, data: bytes) -> None:
        """See ``asyncio.WriteTransport``; the head of an answer goes out with its body, where that is there at once."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/") and self._protocol.conn.our_state is h11.SEND_BODY:
            self._head = data
            self._protocol.loop.call_soon(self._send_head)
            return
        self._written += len(data)
        self.real.write(data)

    def _send_head(self) -> None:
        if self._head:
            self.write(b"")

    def is_closing(self) -> bool:
        """See ``asyncio.BaseTransport``."""
        return self.lingers or self.real.is_closing()

    def close(self) -> None:
        """Closes after what has been written is sent; where the client is still sending, some time later."""
        self._send_head()
        if self.lingers or self.real.is_closing() or self._protocol.conn.their_state is not h11.SEND_BODY:
            self._protocol.watch_writing()
            self.real.close()
        else:
            self.linger()

    def linger(self) -> None:
        """Says that nothing more comes, and closes some time later."""
        self._send_head()
        self._protocol.watch_writing()
        self.lingers = True
        with contextlib.suppress(OSError, RuntimeError):
            self.real.resume_reading()
            self.real.write_eof()
        self._protocol.loop.call_later(LINGER, self.real.close)


class Deadline(H11Protocol):
    """Has a timer while a request is on its way, and one while an answer is not taken.

    The first counts from the connection, or from the first byte after the request before, so that neither slow headers
    nor a slow body holds a connection. A connection that is idle between two requests has uvicorn's own timer.
    """

    seconds: float
    """Set by ``protocol_within``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See ``asyncio.Protocol``."""
        self._real, self._has_spoken = transport, False
        self._late: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._transport = _Transport(transport, self)
        super().connection_made(self._transport)  # type: ignore[arg-type]
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency + SPARE:
            transport.abort()
            return
        self._late = self.loop.call_later(self.seconds, self._close_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._stop()
        if self._writing is not None:
            self._writing.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        self._has_spoken = True
        if not self.transport.is_closing():
            super().data_received(data)

    def handle_events(self) -> None:
        """Handles what has arrived; also what had arrived while the request before was answered."""
        super().handle_events()
        theirs = self.conn.their_state
        if not (theirs is h11.SEND_BODY or (theirs is h11.IDLE and self.conn.trailing_data[0])):
            self._stop()
        elif self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(self.seconds, self._close_late)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP; where an answer has begun already, it is broken off."""
        begun = self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE)
        self._abandon()
        if begun:
            self._real.abort()
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        super().pause_writing()
        self.watch_writing()

    def watch_writing(self) -> None:
        """Cuts the connection off if nothing of what is written is taken for as long as a request may take."""
        if self._writing is None and self._real.get_write_buffer_size():
            self._writing = self.loop.call_later(self.seconds, self._check_writing, self._transport.taken)

    def _check_writing(self, before: int) -> None:
        self._writing = None
        if self._real.get_write_buffer_size() and self._transport.taken <= before:
            self._real.abort()
        else:
            self.watch_writing()

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close_late(self) -> None:
        self._late = None
        if self.transport.is_closing():
            return
        if self._has_spoken and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # no byte of an answer is out
            self._transport.write(LATE)
            self._transport.linger()
        else:
            self._real.close()
        self._abandon()

    def _abandon(self) -> None:
        """Tells what answers the request that its client has gone."""
        if self.cycle and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()


def protocol_within(seconds: float) -> type[Deadline]:
    """Returns a protocol that answers 408 and closes where a request is not there ``seconds`` after its first byte.

    A connection without a byte is closed without a word: browsers open some before they need them.
    """
    return type("DeadlineWithin", (Deadline,), {"seconds": seconds})


class QuietServer(Server):
    """uvicorn's server, which leaves signals to who runs it."""

    def capture_signals(self) -> Any:
        """Changes no handler."""
        return contextlib.nullcontext()
