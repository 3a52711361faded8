"""All that steps texts: a worker for each core or few, among which sources are dealt out."""

import threading
from collections.abc import Sequence
from typing import Any

from clearhead.engine.rows import NativeModel
from clearhead.serve.metrics import Metrics
from clearhead.serve.work.delivery import Post
from clearhead.serve.work.jobs import GivenUpError
from clearhead.serve.work.steppers import SourceWork, Work
from clearhead.serve.work.worker import Worker

WORKERS = 4
"""Most of them: each comes back to Python after every step, where they take turns."""
SMALL, SHARE = 0.5, 0.05
"""A request is small that has at most half the pieces of a usual one; in which each counts for a twentieth."""


class Engine:
    """Steps texts in threads of its own, and hands each to who waits for it.

    Sources go to the worker that has the fewest rows, and are stepped there whatever the others do: none waits for one
    whose core is taken from it for a while, as the event loop does. A worker that is alone has all threads. Sources of
    small requests have a worker of their own, as long as it is the emptiest: it shares the cores with the others, but
    a step takes as long as all its rows do, and these need few. Texts of a language model are stepped by one worker,
    whose products all threads share: these read the weights but once.

    Args:
        rows: most rows that are stepped together.
        threads: that compute.
        metrics: what is counted.
    """

    def __init__(self, *, rows: int, threads: int, metrics: Metrics) -> None:
        self.post, self._closing, self._lock = Post(), False, threading.Lock()
        self._workers: list[Worker] = []
        shared: Any = {"post": self.post, "metrics": metrics, "workers": self._workers}
        self._workers += [Worker(rows=rows, threads=threads, **shared) for _ in range(min(threads, WORKERS))]
        self._all = [*self._workers, Worker(rows=rows, threads=threads, **shared)]
        self._usual: dict[int, float] = {}
        for worker in self._all:
            worker.start()

    @property
    def running_rows(self) -> int:
        """Rows that are stepped now."""
        return sum(worker.running_rows for worker in self._all)

    def submit(self, model: NativeModel, works: Sequence[Work]) -> None:
        """Takes texts of one request, which ``Work.finish`` is called for one by one, in a worker's thread.

        Raises:
            GivenUpError: it is closed.
        """
        dealt: list[list[Work]] = [[] for _ in self._all]
        with self._lock:
            if self._closing:
                raise GivenUpError
            workers = self._all if self._is_small(model, works) else self._workers
            rows = [worker.rows_asked for worker in workers]
            for work in works:
                place = _emptiest(rows) if isinstance(work, SourceWork) else 0
                rows[place] += work.rows
                dealt[place].append(work)
            for worker, own in zip(self._all, dealt, strict=True):
                if own:
                    worker.submit(model, own)

    def _is_small(self, model: NativeModel, works: Sequence[Work]) -> bool:
        """Whether texts have few pieces beside what is usual of their model."""
        size = sum(work.size for work in works)
        usual = self._usual.get(id(model), float(size))
        self._usual[id(model)] = usual + SHARE * (size - usual)
        return size <= SMALL * usual

    def close(self) -> None:
        """Gives up what runs, and ends the threads."""
        with self._lock:
            self._closing = True
        for worker in self._all:
            worker.close()


def _emptiest(rows: Sequence[int]) -> int:
    """Returns the last of the places with the fewest rows."""
    return min(reversed(range(len(rows))), key=rows.__getitem__)
