"""HTTP/1.1 for clients that may be slow or hostile: a request must have arrived within a deadline."""

import asyncio
from typing import Any

import h11
from uvicorn import Server
from uvicorn.protocols.http.h11_impl import H11Protocol

LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 32\r\n\r\nThe request did not come in time"
)


def protocol_within(seconds: float) -> type[H11Protocol]:
    """Returns a protocol that answers 408 and closes where a request is not there ``seconds`` after its first byte.

    The time counts from the connection, or from the first byte after the answer before, so that neither slow headers nor
    a slow body holds a connection. A connection that is idle between two requests has uvicorn's own timer.
    """

    class Deadline(H11Protocol):
        """Has a timer while a request is on its way."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._late: asyncio.TimerHandle | None = self.loop.call_later(seconds, self._close_late)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._late is None and self.conn.their_state is h11.IDLE:
                self._late = self.loop.call_later(seconds, self._close_late)
            super().data_received(data)
            if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
                self._stop()

        def _stop(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _close_late(self) -> None:
            self._late = None
            if self.transport.is_closing():
                return
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # no byte of an answer has gone out
                self.transport.write(LATE)
            if self.cycle and not self.cycle.response_complete:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self.transport.close()

    return Deadline


class QuietServer(Server):
    """uvicorn's server, which leaves signals to who runs it."""

    def capture_signals(self) -> Any:
        """Changes no handler."""
        import contextlib

        return contextlib.nullcontext()
