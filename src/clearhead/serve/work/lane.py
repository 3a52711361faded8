"""A thread of its own for what does not go by steps: PyTorch, or embeddings and classes by the engine."""

import contextvars
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from clearhead.progress import GOING_ON, silent
from clearhead.serve.metrics import Metrics
from clearhead.serve.work.jobs import Job

T = TypeVar("T")
CURRENT: contextvars.ContextVar[Job] = contextvars.ContextVar("job")
"""The job that the calling thread works for."""


class Lane:
    """Runs calls one after another in one thread: PyTorch's pools and modes are a thread's own.

    A call that is part of another one on the lane runs at once. One whose job nobody wants any more ends before the
    next step of its search, or the next module of its model; but not the first call of all, which loads PyTorch.

    Args:
        metrics: what is counted.
        torch: whether PyTorch computes there, and is to be broken off.
    """

    def __init__(self, metrics: Metrics, *, torch: bool = True) -> None:
        self._metrics, self._torch = metrics, torch
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
        before = GOING_ON.set(silent if job is None else job.check)
        try:
            with self._watched():
                return function()
        finally:
            GOING_ON.reset(before)

    def _watched(self) -> AbstractContextManager[object]:
        """Has PyTorch, once it is loaded, ask at each of a model's modules whether to go on, until the call is over."""
        torch: Any = sys.modules.get("torch")
        if not self._torch or torch is None:
            return nullcontext()
        hook: AbstractContextManager[object] = torch.nn.modules.module.register_module_forward_pre_hook(_go_on)
        return hook

    def close(self) -> None:
        """Ends the thread after the call that runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _go_on(module: object, arguments: object) -> None:
    GOING_ON.get()()
