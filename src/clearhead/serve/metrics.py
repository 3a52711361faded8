"""Counts in the text format of Prometheus, version 0.0.4: no label holds a client's text, key or address."""

import bisect
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[str, ...]


class Metric(Protocol):
    """What is counted under one name."""

    kind: str
    name: str
    about: str

    def lines(self) -> Iterator[str]:
        """Yields the samples."""


class Counter:
    """A number that grows, for each combination of labels."""

    kind = "counter"

    def __init__(self, name: str, about: str, labels: Sequence[str] = ()) -> None:
        self.name, self.about, self.labels = name, about, tuple(labels)
        self._values: dict[Labels, float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, *labels: str, by: float | int = 1) -> None:
        """Adds to the number of these labels."""
        with self._lock:
            self._values[labels] += by

    def lines(self) -> Iterator[str]:
        """Yields the samples."""
        with self._lock:
            values = sorted(self._values.items())
        for labels, value in values or ([((), 0.0)] if not self.labels else []):
            yield _sample(self.name, zip(self.labels, labels, strict=True), value)


class Histogram:
    """How often a value fell below each of several bounds."""

    kind = "histogram"

    def __init__(self, name: str, about: str, bounds: Sequence[float] = SECONDS) -> None:
        self.name, self.about, self.bounds = name, about, tuple(bounds)
        self._counts, self._sum, self._lock = [0] * (len(bounds) + 1), 0.0, threading.Lock()

    def see(self, value: float) -> None:
        """Counts a value."""
        with self._lock:
            self._counts[bisect.bisect_left(self.bounds, value)] += 1
            self._sum += value

    def lines(self) -> Iterator[str]:
        """Yields the samples."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        below = 0
        for bound, count in zip([*map(_number, self.bounds), "+Inf"], counts, strict=True):
            below += count
            yield _sample(f"{self.name}_bucket", [("le", bound)], below)
        yield _sample(f"{self.name}_sum", [], total)
        yield _sample(f"{self.name}_count", [], below)


class Gauge:
    """A number that is asked for when somebody looks, for each combination of labels."""

    kind = "gauge"

    def __init__(self, name: str, about: str, labels: Sequence[str], values: Callable[[], dict[Labels, float]]) -> None:
        self.name, self.about, self.labels, self._values = name, about, tuple(labels), values

    def lines(self) -> Iterator[str]:
        """Yields the samples."""
        for labels, value in sorted(self._values().items()):
            yield _sample(self.name, zip(self.labels, labels, strict=True), value)


class Metrics:
    """All that a server counts."""

    def __init__(self) -> None:
        self.requests = Counter(
            "clearhead_requests_total", "Requests that were answered.", ["dialect", "path", "status"]
        )
        self.seconds = Histogram("clearhead_request_seconds", "Seconds from request to answer.")
        self.queued = Histogram("clearhead_queue_seconds", "Seconds that a text waited before it was computed.")
        self.first = Histogram("clearhead_time_to_first_token_seconds", "Seconds to the first piece of a stream.")
        self.tokens = Counter("clearhead_tokens_total", "Pieces read and written.", ["kind"])
        self.batch = Histogram("clearhead_batch_rows", "Rows that were stepped together.", ROWS)
        self.cancelled = Counter("clearhead_cancelled_total", "Requests that were given up.", ["reason"])
        self.gauges: list[Gauge] = []

    def watch(self, name: str, about: str, labels: Sequence[str], values: Callable[[], dict[Labels, float]]) -> None:
        """Adds a gauge."""
        self.gauges.append(Gauge(name, about, labels, values))

    def text(self) -> str:
        """Returns all of it as Prometheus reads it."""
        memory = Gauge(
            "process_resident_memory_bytes", "Memory that is in use.", (), lambda: {(): float(resident_memory())}
        )
        counters = [self.requests, self.tokens, self.cancelled]
        histograms = [self.seconds, self.queued, self.first, self.batch]
        kinds: list[Metric] = [*counters, *histograms, *self.gauges, memory]
        lines: list[str] = []
        for each in kinds:
            lines += [f"# HELP {each.name} {each.about}", f"# TYPE {each.name} {each.kind}", *each.lines()]
        return "\n".join(lines) + "\n"


def resident_memory() -> int:
    """Returns the bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _number(value: float | int) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _sample(name: str, labels: Iterable[tuple[str, str]], value: float | int) -> str:
    pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
