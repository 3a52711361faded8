"""From the threads that compute to the event loop: what was written, in portions of a step."""

import asyncio
from collections import defaultdict
from typing import Any


class Delivery:
    """What one request waits for, as it comes.

    Args:
        loop: of who waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.arrived: asyncio.Queue[list[Any]] = asyncio.Queue()

    def send(self, events: list[Any]) -> None:
        """Hands events over; from any thread."""
        try:
            self.loop.call_soon_threadsafe(self.arrived.put_nowait, events)
        except RuntimeError:
            return  # the loop is closed, and nobody waits


class Post:
    """Gathers what a step has for all requests, so that the event loop is woken once; for one thread."""

    def __init__(self) -> None:
        self._events: dict[Delivery, list[Any]] = defaultdict(list)

    def put(self, delivery: Delivery, event: Any) -> None:
        """Adds an event."""
        self._events[delivery].append(event)

    def send(self) -> None:
        """Hands all of it over."""
        if not self._events:
            return
        events, self._events = self._events, defaultdict(list)
        loop = next(iter(events)).loop
        try:
            loop.call_soon_threadsafe(_distribute, events)
        except RuntimeError:
            return  # the loop is closed, and nobody waits


def _distribute(events: dict[Delivery, list[Any]]) -> None:
    for delivery, each in events.items():
        delivery.arrived.put_nowait(each)
