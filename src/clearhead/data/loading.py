"""Loads the batches of a plan in order, from any batch on, with or without data workers, whole or shared by ranks."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")
STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that ask a run to stop; a terminal, a scheduler or torchrun sends them to its data workers as well."""
PARENT_CHECK_SECONDS = 0.5
"""How often a data worker looks whether the process that trains is still there."""


class _Shared(Dataset[Any]):
    """One rank's share of each batch; if there is no row for it, a batch whose ``target_count`` is 0."""

    def __init__(self, batches: Any, share: tuple[int, int]) -> None:
        self.plan = replace(batches.plan, share=share)
        self.batches = replace(batches, plan=self.plan)

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Any:
        batch = self.batches[index]
        return replace(batch, target_count=0) if self.plan.spare(index) else batch


def load(
    batches: Dataset[T],
    *,
    start: int = 0,
    workers: int = 0,
    pin_memory: bool = False,
    share: tuple[int, int] = (0, 1),
) -> Iterator[T]:
    """Yields the batches from number ``start`` on, the same for any number of workers.

    Args:
        batches: item ``i`` is batch ``i``; has a length. To be shared, it must be a dataclass with a ``plan``.
        start: number of the first batch, to continue after an interruption.
        workers: processes that prepare batches; 0 prepares them in this process.
        pin_memory: puts batches into page-locked memory, from which copies to a GPU need not wait.
        share: (rank, world): yields every ``world``-th row of each batch, from row ``rank`` on. The shares of all ranks
            together are the batch; a rank without a row gets a batch whose ``target_count`` is 0.
    """
    parts: Dataset[T] = batches if share[1] == 1 else _Shared(batches, share)
    loader = DataLoader(
        parts,
        batch_size=None,
        sampler=range(start, len(batches)),  # type: ignore[arg-type]
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else DataLoader draws from the global one, and a resumed run would differ
        worker_init_fn=_leave_signals_to_parent if workers else None,
    )
    with _blocked():
        return iter(loader)


@contextmanager
def _blocked() -> Iterator[None]:
    """Holds back signals that ask to stop; processes that are started meanwhile begin with these signals blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_parent(worker: int) -> None:
    """Makes a data worker outlive the signals that ask the run to stop: the step that is running needs its batches.

    The worker ends when its parent tells it to, or is gone.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    if sys.platform == "darwin":  # has no sigtimedwait: torch's own handler ends the worker
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    else:
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(started_by: int) -> None:
    """Ends this process on SIGTERM from its parent, or when the parent is gone; drops the signals of others."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    while os.getppid() == started_by and parent.is_alive():
        received = signal.sigtimedwait(STOPPING, PARENT_CHECK_SECONDS)
        if received is not None and (received.si_signo, received.si_pid) == (signal.SIGTERM, parent.pid):
            os._exit(0)
    os._exit(1)
