"""Batches of a plan in order, from any one on, prepared here or by other processes."""

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")


def load(batches: Dataset[T], *, start: int = 0, workers: int = 0, pin_memory: bool = False) -> Iterator[T]:
    """Yields batches from number ``start`` on, the same ones for any number of workers.

    Args:
        batches: item ``i`` is batch ``i``; has a length.
        start: first batch, for going on after a stop.
        workers: processes that prepare batches; 0 prepares them here.
        pin_memory: puts batches where a GPU can fetch them without waiting.
    """
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            sampler=range(start, len(batches)),  # type: ignore[arg-type]
            num_workers=workers,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # the global one would be drawn from, and a resumed run differ
        )
    )
