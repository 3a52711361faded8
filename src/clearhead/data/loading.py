"""Loads the batches of a plan in order, from any batch on, with or without data workers, whole or shared by ranks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")


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
    return iter(
        DataLoader(
            parts,
            batch_size=None,
            sampler=range(start, len(batches)),  # type: ignore[arg-type]
            num_workers=workers,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # else DataLoader draws from the global one, and a resumed run would differ
        )
    )
