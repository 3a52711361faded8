"""A request while it is computed: how long it may wait and take, and whether anybody still wants its answer."""

import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from clearhead.serve.http.request_error import RequestError

Reason = Literal["disconnect", "queue", "time", "shutdown"]
_numbers = itertools.count()


class GivenUpError(Exception):
    """Ends what computes for a request that nobody wants any more."""


@dataclass(eq=False)
class Job:
    """One request.

    Args:
        timeout: seconds that it may wait, and that it may take once it runs.
    """

    timeout: float
    number: int = field(default_factory=lambda: next(_numbers))
    created: float = field(init=False)
    started: float | None = None
    """When the first of it was computed; None while it waits."""
    over: threading.Event = field(default_factory=threading.Event, repr=False)
    reason: Reason | None = None
    """Why it was given up."""

    def __post_init__(self) -> None:
        self.created = time.monotonic()

    @property
    def deadline(self) -> float:
        """By when it must have begun, or be over."""
        return (self.created if self.started is None else self.started) + self.timeout

    def start(self) -> float:
        """Says that it is being computed; returns how long it has waited, the first time, else 0."""
        if self.started is not None:
            return 0.0
        self.started = time.monotonic()
        return self.started - self.created

    def give_up(self, reason: Reason) -> None:
        """Says that nobody wants it any more; what computes for it stops at its next step."""
        self.reason = self.reason or reason
        self.over.set()

    def check(self) -> None:
        """Raises GivenUpError if nobody wants it any more."""
        if self.over.is_set():
            raise GivenUpError

    def expire(self) -> None:
        """Gives it up if its time has passed."""
        if time.monotonic() > self.deadline:
            self.give_up("queue" if self.started is None else "time")

    def error(self) -> RequestError:
        """Returns what its client is told, if it was given up."""
        match self.reason:
            case "queue":
                return RequestError(503, f"waited longer than {self.timeout:g} s", code="overloaded", headers=LATER)
            case "time":
                return RequestError(504, f"took longer than {self.timeout:g} s", code="timeout", headers=NEVER)
            case "shutdown":
                return RequestError(503, "the server is shutting down", code="shutting_down", headers=LATER)
            case "disconnect" | None:
                return RequestError(499, "the client has gone", code="disconnected")


LATER = {"Retry-After": "1"}
NEVER = {"x-should-retry": "false"}
"""Clients of OpenAI obey it; the same text would take as long again."""
