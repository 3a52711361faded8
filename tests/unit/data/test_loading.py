"""Batches in order, from any one on, by any number of processes."""

import pytest
import torch
from torch.utils.data import Dataset

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
