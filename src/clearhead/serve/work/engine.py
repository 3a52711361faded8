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


class Engine:
    """Steps texts in threads of its own, and hands each to who waits for it.

    Sources go to the worker that has the fewest rows, and are stepped there whatever the others do: none waits for one
    whose core is taken from it for a while, as the event loop does. A worker that is alone has all threads. Texts of a
    language model are stepped by one worker, whose products all threads share: these read the weights but once.

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
        for worker in self._workers:
            worker.start()

    @property
    def running_rows(self) -> int:
        """Rows that are stepped now."""
        return sum(worker.running_rows for worker in self._workers)

    def submit(self, model: NativeModel, works: Sequence[Work]) -> None:
        """Takes texts of one request, which ``Work.finish`` is called for one by one, in a worker's thread.

        Raises:
            GivenUpError: it is closed.
        """
        dealt: list[list[Work]] = [[] for _ in self._workers]
        with self._lock:
            if self._closing:
                raise GivenUpError
            rows = [worker.rows_asked for worker in self._workers]
            size = sum(work.size for work in works)
            for work in works:
                place = rows.index(min(rows)) if isinstance(work, SourceWork) else 0
                rows[place] += work.rows
                dealt[place].append(work)
            for worker, own in zip(self._workers, dealt, strict=True):
                if own:
                    worker.submit(model, own, size)

    def close(self) -> None:
        """Gives up what runs, and ends the threads."""
        with self._lock:
            self._closing = True
        for worker in self._workers:
            worker.close()
