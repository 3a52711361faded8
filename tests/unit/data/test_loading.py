"""Batches in order, from any one on, by any number of processes."""

import multiprocessing
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from clearhead.data.batching import BatchPlan, plan_batches
from clearhead.data.loading import STOPPING, load
from tests.limits import HANGS


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


class Workers(Dataset[int]):
    """Each item is the process that made it."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> int:
        return os.getpid()


def test_workers_leave_signals_to_their_parent() -> None:
    """A terminal, a scheduler and torchrun send them to the whole process group; each worker gets all three here."""
    batches = load(Workers(), workers=2)
    workers = {next(batches) for _ in range(4)}
    for number in STOPPING:  # from another process: their parent may end them
        subprocess.run(["kill", f"-{number.value}", *map(str, workers)], check=True)
    assert {*batches} == workers
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & STOPPING, "the parent itself gets signals again"


def test_workers_end_when_their_parent_says_so() -> None:
    """Else Python, which ends such processes at exit, would wait for them for ever."""
    others = multiprocessing.active_children()
    batches = load(Workers(), workers=2)
    next(batches)
    workers = [process for process in multiprocessing.active_children() if process not in others]
    for worker in workers:
        worker.terminate()
        worker.join(HANGS)
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """Also where it was killed, and has told them nothing."""
    noted = tmp_path / "workers"
    child = os.fork()
    if not child:
        batches = load(Workers(), workers=2)
        noted.write_text(" ".join({str(next(batches)) for _ in range(4)}))
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    workers = noted.read_text().split()
    assert len(workers) == 2
    until = time.monotonic() + HANGS
    while any(map(is_running, workers)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(is_running, workers))


def is_running(process: str) -> bool:
    """Whether a process has not ended; one that nobody has waited for yet counts as ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
