"""Batch plans: every pair once, never above the budget, a function of (seed, epoch), little padding."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.data.batching import BatchPlan, plan_batches, sequential_batches
from clearhead.errors import UsageError

lengths = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=120).map(
    lambda pairs: np.array(pairs, np.int32).T
)


def plan(both: np.ndarray, *, budget: int = 64, seed: int = 1, epoch: int = 0) -> BatchPlan:
    return plan_batches(both[0], both[1], batch_tokens=budget, seed=seed, epoch=epoch)


def batches(found: BatchPlan) -> list[list[int]]:
    return [found[index].tolist() for index in range(len(found))]


def synthetic(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    src = np.clip(rng.lognormal(3, 0.5, count), 1, 200)
    return np.stack([src, np.clip(src * rng.lognormal(0, 0.2, count), 1, 200)]).astype(np.int32)


@given(both=lengths, budget=st.integers(41, 500), seed=st.integers(0, 2**32), epoch=st.integers(0, 99))
def test_every_pair_once_within_the_budget(both: np.ndarray, budget: int, seed: int, epoch: int) -> None:
    planned = batches(plan(both, budget=budget, seed=seed, epoch=epoch))
    assert sorted(index for batch in planned for index in batch) == list(range(both.shape[1]))
    assert all(batch and len(batch) * (both[:, batch].max() + 1) <= budget for batch in planned)


@given(both=lengths, seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_a_plan_depends_on_seed_and_epoch_alone(both: np.ndarray, seed: int, epoch: int) -> None:
    first, again = (plan(both, seed=seed, epoch=epoch) for _ in range(2))
    assert np.array_equal(first.order, again.order)
    assert np.array_equal(first.starts, again.starts)


def test_epochs_and_seeds_differ_in_order_and_in_company() -> None:
    both = synthetic(2000)
    plans = [plan(both, budget=1000, seed=seed, epoch=epoch) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    companies = [{frozenset(batch) for batch in batches(epoch_plan)} for epoch_plan in plans]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not np.array_equal(plans[a].order, plans[b].order)
        assert len(companies[a] & companies[b]) < len(companies[a]) / 10


def test_batches_do_not_come_sorted_by_length() -> None:
    both = synthetic(4000)
    epoch_plan = plan(both, budget=1000)
    widths = np.array([both[:, epoch_plan[index]].max() for index in range(len(epoch_plan))])
    assert abs(np.corrcoef(widths, np.arange(len(widths)))[0, 1]) < 0.3


def test_efficiency_is_real_over_padded() -> None:
    both = synthetic(500)
    epoch_plan = plan(both, budget=900)
    real = both.sum() + 2 * 500
    padded = sum(
        len(rows) * (both[0, rows].max() + both[1, rows].max() + 2)
        for rows in map(epoch_plan.__getitem__, range(len(epoch_plan)))
    )
    assert epoch_plan.efficiency == pytest.approx(real / padded, abs=1e-12)
    assert plan(np.full((2, 64), 7)).efficiency == 1.0


def test_little_padding_and_full_batches() -> None:
    both = synthetic(100_000)
    epoch_plan = plan(both, budget=4096)
    assert epoch_plan.efficiency > 0.97
    ideal = (both.max(axis=0) + 1).sum() / 4096
    assert len(epoch_plan) < 1.05 * ideal + 2


def test_a_budget_too_small_names_the_least_one() -> None:
    both = np.array([[3, 9], [5, 2]])
    with pytest.raises(UsageError, match="batch_tokens = 9: the longest sentence has 10 tokens, so 10 is the least"):
        plan(both, budget=9)
    assert len(plan(both, budget=10)) == 2


def test_batch_numbers_end() -> None:
    epoch_plan = plan(synthetic(50), budget=400)
    for wrong in (-1, len(epoch_plan)):
        with pytest.raises(IndexError):
            epoch_plan[wrong]


@given(both=lengths, budget=st.integers(5, 300))
def test_evaluation_goes_from_long_to_short_and_takes_all(both: np.ndarray, budget: int) -> None:
    epoch_plan = sequential_batches(both[0], both[1], batch_tokens=budget)
    widths = both.max(axis=0)[epoch_plan.order]
    assert (np.diff(widths) <= 0).all()
    assert sorted(epoch_plan.order.tolist()) == list(range(both.shape[1]))
    assert all(len(batch) == 1 or len(batch) * (both[:, batch].max() + 1) <= budget for batch in batches(epoch_plan))
    results = np.empty(both.shape[1], np.int64)
    results[epoch_plan.order] = [index for batch in batches(epoch_plan) for index in batch]
    assert results.tolist() == list(range(both.shape[1]))


def test_evaluation_of_nothing_and_of_sources_alone() -> None:
    assert len(sequential_batches(np.zeros(0, np.int32), batch_tokens=10)) == 0
    assert batches(sequential_batches(np.array([1, 8, 1]), batch_tokens=4)) == [[1], [0, 2]]


def test_real_lengths_pad_little(shared_data: Path) -> None:
    sides = []
    for name in ("en", "de"):
        with gzip.open(shared_data / "multi30k-en-de" / f"train.{name}.gz", "rt", encoding="utf-8") as lines:
            sides.append([len(line.split()) for line in lines])
    assert plan(np.array(sides), budget=4096).efficiency > 0.95
