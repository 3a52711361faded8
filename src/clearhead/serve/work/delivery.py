"""From the threads that compute to the event loop: what was written, in portions of a step."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from typing import Any

MOST = 64
"""Events of a portion: while they are written, the event loop has no time for others."""


class Receiver(ABC):
    """Where events arrive.

    Args:
        loop: in which they do.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    @abstractmethod
    def receive(self, events: list[Any]) -> None:
        """Takes events, in the loop."""


class Delivery(Receiver):
    """What one request waits for, as it comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._waiting = list[Any]()
        self._next: asyncio.Future[list[Any]] | None = None

    def next(self) -> "asyncio.Future[list[Any]]":
        """Returns the next portion, for the only one who waits; the event loop has its turn before it is there."""
        self._next = self.loop.create_future()
        if self._waiting:
            self.loop.call_soon(self._give)
        return self._next

    def receive(self, events: list[Any]) -> None:
        """See ``Receiver``."""
        self._waiting += events
        self._give()

    def _give(self) -> None:
        if self._waiting and self._next is not None and not self._next.done():
            self._next.set_result(self._waiting[:MOST])
            del self._waiting[:MOST]

    def send(self, events: list[Any]) -> None:
        """Hands events over; from any thread."""
        try:
            self.loop.call_soon_threadsafe(self.receive, events)
        except RuntimeError:
            return  # the loop is closed, and nobody waits


class Post:
    """Gathers what a step has for all requests, so that the event loop is woken once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[Receiver, list[Any]] = defaultdict(list)

    def put(self, receiver: Receiver, event: Any) -> None:
        """Adds an event."""
        with self._lock:
            self._events[receiver].append(event)

    def send(self) -> None:
        """Hands all of it over."""
        if not self._events:
            return
        with self._lock:
            events, self._events = self._events, defaultdict(list)
        if not events:
            return  # another thread was quicker
        loop = next(iter(events)).loop
        try:
            loop.call_soon_threadsafe(_distribute, events)
        except RuntimeError:
            return  # the loop is closed, and nobody waits


def _distribute(events: dict[Receiver, list[Any]]) -> None:
    for receiver, each in events.items():
        receiver.receive(each)


class Gathered(Receiver):
    """What comes of several texts, for who waits for all of them.

    Args:
        loop: of who waits.
        count: of the texts.
        post: of the thread that computes them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int, post: Post) -> None:
        super().__init__(loop)
        self.all: asyncio.Future[list[Any]] = loop.create_future()
        """The results of all texts, or the first exception among them."""
        self._results: list[Any] = [None] * count
        self._left, self._lock, self._post = count, threading.Lock(), post

    def take(self, work: Any, result: Any) -> None:
        """Takes what came of a text by its ``place``; in the thread that computes."""
        self._results[work.place] = result
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._post.put(self, None)

    def receive(self, events: list[Any]) -> None:
        """See ``Receiver``."""
        if self.all.done():  # nobody waits any more
            return
        errors = [result for result in self._results if isinstance(result, BaseException)]
        if errors:
            self.all.set_exception(errors[0])
        else:
            self.all.set_result(self._results)
