"""A thread of its own for what does not go by steps: PyTorch, embeddings, classes, searches with phrases."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from clearhead.serve.metrics import Metrics
from clearhead.serve.work.jobs import Job

T = TypeVar("T")
CURRENT: contextvars.ContextVar[Job] = contextvars.ContextVar("job")
"""The job that the calling thread works for."""


class Lane:
    """Runs calls one after another in one thread: PyTorch's pools and modes are a thread's own.

    A call that is part of another one on the lane runs at once.

    Args:
        metrics: what is counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="lane")
        self._thread: int | None = None

    def run(self, function: Callable[[], T]) -> T:
        """Returns what a function returns, which the lane calls in its turn; waits for it.

        Raises:
            GivenUpError: nobody wants it any more.
        """
        if threading.get_ident() == self._thread:
            return function()
        return self.submit(CURRENT.get(None), function).result()

    def submit(self, job: Job | None, function: Callable[[], T]) -> "Future[T]":
        """Has the lane call a function in its turn, unless nobody wants its job any more (GivenUpError)."""
        return self._pool.submit(self._call, job, function)

    def _call(self, job: Job | None, function: Callable[[], T]) -> T:
        self._thread = threading.get_ident()
        if job is not None:
            job.check()
            if job.started is None:
                self._metrics.queued.see(job.start())
        return function()

    def close(self) -> None:
        """Ends the thread after the call that runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)
