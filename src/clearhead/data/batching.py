"""Batches by token budget: which pairs share a batch and the order of the batches, drawn from (seed, epoch) alone."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from clearhead.errors import UsageError


@dataclass(frozen=True)
class BatchPlan:
    """The batches of one epoch; every pair that the epoch has is in exactly one of them, where none comes twice."""

    order: Int[ndarray, " pairs"]
    """Indices of pairs, batch after batch."""
    starts: Int[ndarray, " batches_plus_1"]
    """Start of each batch in ``order``, and the end of the last one."""
    seed: int
    epoch: int
    efficiency: float
    """Real tokens, end marks included, divided by the tokens of both padded sides."""
    share: tuple[int, int] = (0, 1)
    """(rank, world): this process gets every ``world``-th row of each batch, from row ``rank`` on."""

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> Int[ndarray, " rows"]:
        """Returns the indices of the pairs in batch ``index``, or in the share of this process."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        rows = self.order[self.starts[index] : self.starts[index + 1]]
        rank, world = self.share
        return rows[:1] if self.spare(index) else rows[rank::world]

    def spare(self, index: int) -> bool:
        """Whether batch ``index`` has no row for this process, which then gets its first row, without counting it."""
        return bool(self.starts[index + 1] - self.starts[index] <= self.share[0])


def largest_batch(plan: BatchPlan, lengths: Int[ndarray, " n"]) -> int:
    """Returns the number of the batch with the most positions, padding included, for rows of these ``lengths``."""
    return max(range(len(plan)), key=lambda index: int(lengths[plan[index]].max()) * len(plan[index]))


def plan_batches(
    src_len: Int[ndarray, " pairs"],
    tgt_len: Int[ndarray, " pairs"],
    *,
    batch_tokens: int,
    seed: int,
    epoch: int,
    rows: Int[ndarray, " rows"] | None = None,
) -> BatchPlan:
    """Plans one epoch of training.

    A batch has pairs of similar length. Which of the equally long pairs it has, where the batches are cut, and their
    order are drawn anew each epoch. Rows times the length of the longer padded side is at most ``batch_tokens``.

    Args:
        src_len: pieces of each source, without end marks.
        tgt_len: pieces of each target, without end marks.
        batch_tokens: maximum size of a batch.
        seed: seed of the run.
        epoch: number of the pass over the data.
        rows: the numbers of the pairs that this epoch has, some of them several times; None: each once.

    Raises:
        UsageError: one pair alone is longer than the budget.
    """
    longest = int(max(src_len.max(initial=0), tgt_len.max(initial=0))) + 1
    if longest > batch_tokens:
        rule = f"the longest sentence has {longest} tokens, so {longest} is the least that works"
        raise UsageError(f"batch_tokens = {batch_tokens}: {rule}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    shuffled = rng.permutation(len(src_len)).astype(np.int32) if rows is None else rng.permutation(rows)
    order = shuffled[_by_length(src_len[shuffled], tgt_len[shuffled])]
    starts = _cut(np.maximum(src_len, tgt_len)[order] + 1, batch_tokens, first=float(rng.random()))
    efficiency = _efficiency(src_len[order], tgt_len[order], starts)
    batches = rng.permutation(len(starts) - 1)
    counts = np.diff(starts)[batches]
    ends = np.cumsum(counts)
    # the batch that now ends at ends[i] began at starts[batches[i]]: shift its positions by the difference
    take = np.arange(len(order)) + np.repeat(starts[batches] - (ends - counts), counts)
    return BatchPlan(order[take], np.concatenate(([0], ends)), seed, epoch, efficiency)


def sequential_batches(
    src_len: Int[ndarray, " pairs"], tgt_len: Int[ndarray, " pairs"] | None = None, *, batch_tokens: int
) -> BatchPlan:
    """Plans an evaluation: longest pairs first, nothing random; a pair above the budget gets a batch of its own.

    ``plan.order`` says which pair each result belongs to: ``results[plan.order] = in_batch_order``.
    """
    tgt_len = src_len if tgt_len is None else tgt_len
    order = _by_length(src_len, tgt_len)
    starts = _cut(np.maximum(src_len, tgt_len)[order] + 1, batch_tokens, first=1.0)
    return BatchPlan(order, starts, 0, 0, _efficiency(src_len[order], tgt_len[order], starts))


def _by_length(src_len: Int[ndarray, " n"], tgt_len: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
    """Orders by the longer side, longest first, then by the difference of the two.

    The direction of the difference alternates, so that neighbours stay alike where the longer side changes.
    """
    width = np.maximum(src_len, tgt_len).astype(np.int64)
    span = 2 * width.max(initial=0) + 1
    difference = np.where(width % 2, tgt_len - src_len, src_len - tgt_len)
    return np.argsort(difference - width * span, kind="stable").astype(np.int32)


def _cut(widths: Int[ndarray, " n"], budget: int, *, first: float) -> Int[ndarray, " batches_plus_1"]:
    """Cuts rows, sorted widest first, into batches within the budget; the first batch gets only ``first`` of it."""
    starts = [0]
    while (start := starts[-1]) < len(widths):
        limit = budget if start else int(budget * first)
        starts.append(min(len(widths), start + max(1, limit // int(widths[start]))))
    return np.array(starts, np.int64)


def _efficiency(src_len: Int[ndarray, " n"], tgt_len: Int[ndarray, " n"], starts: Int[ndarray, " m"]) -> float:
    """Returns the share of real tokens; see ``BatchPlan.efficiency``."""
    if not len(src_len):
        return 1.0
    real = int(src_len.sum(dtype=np.int64)) + int(tgt_len.sum(dtype=np.int64)) + 2 * len(src_len)
    width = np.maximum.reduceat(src_len, starts[:-1]) + np.maximum.reduceat(tgt_len, starts[:-1]) + 2
    return real / int((width * np.diff(starts)).sum())
