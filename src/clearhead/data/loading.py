"""Batches of a plan in order, from any one on, prepared here or by other processes, whole or shared by ranks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")


class _Shared(Dataset[Any]):
    """One rank's part of each batch; where a batch has no row for it, a batch that counts nothing."""

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
    """Yields batches from number ``start`` on, the same ones for any number of workers.

    Args:
        batches: item ``i`` is batch ``i``; has a length. To be shared it must be a dataclass with a ``plan``.
        start: first batch, for going on after a stop.
        workers: processes that prepare batches; 0 prepares them here.
        pin_memory: puts batches where a GPU can fetch them without waiting.
        share: (rank, world): of each batch every ``world``-th row, from number ``rank`` on. The parts of all ranks
            together are the batch; a rank without a row gets one whose ``target_count`` is 0.
    """
    parts: Dataset[T] = batches if share[1] == 1 else _Shared(batches, share)
    return iter(
        DataLoader(
            parts,
            batch_size=None,
            sampler=range(start, len(batches)),  # type: ignore[arg-type]
            num_workers=workers,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # the global one would be drawn from, and a resumed run differ
        )
    )
