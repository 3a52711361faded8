"""Batches in order, from any one on, by any number of processes."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from clearhead.data.batching import BatchPlan, plan_batches
from clearhead.data.loading import load


class Numbers(Dataset[int]):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> int:
        return index * index


@pytest.mark.parametrize("workers", [0, 2])
def test_any_workers_and_any_start(workers: int) -> None:
    random = torch.get_rng_state()
    for start in (0, 3, 7):
        assert list(load(Numbers(), start=start, workers=workers)) == [i * i for i in range(start, 7)]
    assert torch.equal(torch.get_rng_state(), random), "the global state is left alone"


@dataclass(frozen=True)
class Rows:
    """A batch of rows by number."""

    rows: list[int]
    target_count: int


@dataclass(frozen=True)
class Planned(Dataset[Rows]):
    plan: BatchPlan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Rows:
        return Rows(self.plan[index].tolist(), len(self.plan[index]))


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_the_parts_of_all_ranks_are_the_batches_each_row_once(world: int) -> None:
    plan = plan_batches(np.full(40, 3), np.arange(40) % 9, batch_tokens=40, seed=1, epoch=0)
    whole = [plan[index].tolist() for index in range(len(plan))]
    assert min(map(len, whole)) < 7, "some batch has not a row for each"
    ranks = [list(load(Planned(plan), start=1, share=(rank, world))) for rank in range(world)]
    for number, rows in enumerate(whole[1:]):
        parts = [part[number] for part in ranks]
        assert sorted(row for part in parts if part.target_count for row in part.rows) == sorted(rows)
        assert sum(part.target_count for part in parts) == len(rows)
        assert all(part.rows for part in parts), "who has no row computes one that counts nothing"
