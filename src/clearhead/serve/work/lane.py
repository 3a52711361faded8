"""A thread of its own for what does not go by steps: PyTorch, embeddings, classes, searches with phrases."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from clearhead.serve.work.jobs import Job

T = TypeVar("T")
CURRENT: contextvars.ContextVar[Job] = contextvars.ContextVar("job")
"""The job that the calling thread works for."""


class Lane:
    """Runs calls one after another in one thread: PyTorch's pools and modes are a thread's own.

    A call that is part of another one on the lane runs at once.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="lane")
        self._thread: int | None = None

    def run(self, function: Callable[[], T]) -> T:
        """Returns what a function returns, which the lane calls in its turn; waits for it.

        Raises:
            GivenUpError: nobody wants it any more.
        """
        if threading.get_ident() == self._thread:
            return function()
        job = CURRENT.get(None)
        return self._pool.submit(self._call, job, function).result()

    def _call(self, job: Job | None, function: Callable[[], T]) -> T:
        self._thread = threading.get_ident()
        if job is not None:
            job.check()
            job.start()
        return function()

    def submit(self, function: Callable[[], T]) -> "Future[T]":
        """Has the lane call a function in its turn."""
        return self._pool.submit(self._call, None, function)

    def close(self) -> None:
        """Ends the thread after the call that runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)
