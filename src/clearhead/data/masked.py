"""Masked batches: rows of segments in which pieces are to be found again, dynamic and from a seed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor
from torch.utils.data import Dataset

from clearhead.data.batching import BatchPlan, plan_batches, sequential_batches
from clearhead.data.pairs import MaskedConfig, Pairs, fit_rows, plan_pairs
from clearhead.data.segments import Laid, check_marks, lay_out
from clearhead.data.sentences import SentenceStore, Units
from clearhead.errors import UsageError
from clearhead.text.special import ABSENT
from clearhead.text.tokenizer import Tokenizer
from clearhead.text.words import word_borders


@dataclass(frozen=True)
class MaskedBatch:
    """Rows of ``[CLS] A [SEP] B [SEP]``, or of one segment, some of whose pieces are hidden or false."""

    ids: Int[Tensor, "batch seq"]
    segments: Int[Tensor, "batch seq"]
    """1 in B and the mark behind it, else 0."""
    mask: Bool[Tensor, "batch seq"]
    """True where a real piece or mark is."""
    positions: Int[Tensor, " masked"]
    """Which of the positions, counted through all rows, are to be found: ``hidden.flatten(0, 1)[positions]``."""
    targets: Int[Tensor, " masked"]
    """The pieces that stood there."""
    next_labels: Int[Tensor, " batch"] | None
    """1 where B follows A, 0 where it is of another document; None for one segment."""
    target_count: int
    """Pieces that are to be found: what a summed loss is divided by."""
    documents: Int[Tensor, " batch"] | None = None
    """Number of the document that each row begins in, from 1."""

    def to(self, device: torch.device | str) -> "MaskedBatch":
        """Returns the batch on ``device``; from pinned memory the copy does not wait."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "MaskedBatch":
        """Returns the batch in page-locked memory; DataLoader calls this."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "MaskedBatch":
        changed: Any = {name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **changed)


class Masker:
    """Hides pieces as BERT does (Devlin et al. 2019, arXiv:1810.04805, 3.1): 15 %, of them 80 / 10 / 10.

    Each row draws from its own seed, so that what is hidden depends neither on its batch mates nor on who prepares it.
    """

    def __init__(self, tokenizer: Tokenizer, config: MaskedConfig) -> None:
        """Raises UsageError if the tokenizer has not the marks."""
        check_marks(tokenizer.ids)
        if tokenizer.ids.mask == ABSENT:
            raise UsageError("tokenizer has no [MASK]: train it with tokenizer.specials = 'masked'")
        self.config, self.special = config, tokenizer.ids
        special = set(vars(tokenizer.ids).values())
        self._random = np.array([i for i in range(tokenizer.vocab_size) if i not in special], np.int64)
        self._borders = word_borders(tokenizer) if config.whole_word else None

    def hide(
        self, laid: Laid, seeds: list[np.random.SeedSequence]
    ) -> tuple[Int[ndarray, "batch seq"], Int[ndarray, " masked"]]:
        """Returns the ids that the model sees, and which positions, counted through all rows, it is to find."""
        draws = np.full((3, *laid.ids.shape), 2.0)
        border = np.empty((len(seeds), 1))
        for row, (seed, length) in enumerate(zip(seeds, laid.mask.sum(axis=1).tolist(), strict=True)):
            drawn = np.random.default_rng(seed).random(3 * length + 1)
            draws[:, row, :length] = drawn[1:].reshape(3, length)
            border[row] = drawn[0]
        order, fate, piece = draws
        chosen = self._choose(laid, order, border)
        hidden = np.where(fate < self.config.mask_share, self.special.mask, laid.ids)
        falsified = (fate >= self.config.mask_share) & (fate < self.config.mask_share + self.config.random_share)
        false = self._random[(piece * len(self._random)).astype(np.int64).clip(max=len(self._random) - 1)]
        ids = np.where(chosen, np.where(falsified, false, hidden), laid.ids)
        return ids, np.flatnonzero(chosen)

    def _choose(
        self, laid: Laid, draws: Float[ndarray, "batch seq"], border: Float[ndarray, "batch 1"]
    ) -> Bool[ndarray, "batch seq"]:
        """Takes words (or single pieces) in an order that ``draws`` gives, until there are enough pieces.

        The share is met on average: the word in which it is reached is taken with the probability that does so. At
        least one word is taken of every row that has a piece that may be.
        """
        allowed = laid.text & (laid.ids != self.special.unk)
        words = self._words(laid)
        # all pieces of a word get the draw of its first one; those that may not be taken stand last
        first = np.maximum.accumulate(np.where(words, np.arange(words.shape[1]), 0), axis=1)
        keys = np.where(allowed, np.take_along_axis(draws, first, axis=1), 2.0)
        order = np.argsort(keys, axis=1, kind="stable")
        sorted_first = np.where(
            np.take_along_axis(allowed, order, axis=1), np.take_along_axis(first, order, axis=1), -1
        )
        fresh = np.diff(sorted_first, axis=1, prepend=-2) != 0
        rank = np.arange(words.shape[1])[None, :]
        start = np.maximum.accumulate(np.where(fresh, rank, 0), axis=1)
        next_start = np.append(np.where(fresh, rank, rank.size)[:, 1:], np.full((len(order), 1), rank.size), axis=1)
        end = np.minimum.accumulate(next_start[:, ::-1], axis=1)[:, ::-1]
        wanted = self.config.mask_fraction * allowed.sum(axis=1, keepdims=True)
        taken = ((start + border * (end - start) < wanted) | (start == 0)) & (sorted_first >= 0)
        chosen = np.zeros_like(allowed)
        np.put_along_axis(chosen, order, taken, axis=1)
        return chosen

    def _words(self, laid: Laid) -> Bool[ndarray, "batch seq"]:
        """Says where words start."""
        if self._borders is None:
            return np.ones_like(laid.mask)
        begins, ends = self._borders
        after = np.roll(laid.text, 1, axis=1) & ~np.roll(ends[laid.ids], 1, axis=1)
        return begins[laid.ids] | ~laid.text | ~after


@dataclass(frozen=True)
class MaskedBatches(Dataset[MaskedBatch]):
    """The rows of one epoch in batches: item ``i`` is batch ``i``."""

    store: SentenceStore
    pairs: Pairs
    plan: BatchPlan
    """Which rows each batch holds."""
    masker: Masker
    seed: int
    epoch: int

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> MaskedBatch:
        rows = self.plan[index]
        laid = lay_out(self.store.ids, self.pairs.spans[rows], special=self.masker.special, pair=self.pairs.pair)
        seeds = [np.random.SeedSequence([self.seed, self.epoch], spawn_key=(1, row)) for row in rows.tolist()]
        ids, positions = self.masker.hide(laid, seeds)
        labels = torch.from_numpy(self.pairs.is_next[rows].astype(np.int64)) if self.pairs.pair else None
        return MaskedBatch(
            ids=torch.from_numpy(ids),
            segments=torch.from_numpy(laid.segments),
            mask=torch.from_numpy(laid.mask),
            positions=torch.from_numpy(positions),
            targets=torch.from_numpy(laid.ids.reshape(-1)[positions]),
            next_labels=labels,
            target_count=len(positions),
            documents=torch.from_numpy(self.store.document_at(self.pairs.spans[rows, 0])),
        )


@dataclass(frozen=True)
class MaskedText:
    """A text that batches are made of, epoch after epoch."""

    store: SentenceStore
    units: Units
    masker: Masker
    max_seq_len: int

    def training(self, *, batch_tokens: int, seed: int, epoch: int) -> MaskedBatches:
        """Plans one epoch: which rows, what is hidden in them and their order are drawn from (seed, epoch).

        Raises:
            UsageError: a row alone is longer than ``batch_tokens``.
        """
        pairs = self._pairs(seed, epoch)
        # the plan adds a mark to every length
        sizes = pairs.lengths - 1
        plan = plan_batches(sizes, sizes, batch_tokens=batch_tokens, seed=seed, epoch=epoch)
        return MaskedBatches(self.store, pairs, plan, self.masker, seed, epoch)

    def evaluation(self, *, batch_tokens: int, seed: int = 0) -> MaskedBatches:
        """Plans a scoring: the same rows and hidden pieces every time, longest rows first."""
        pairs = self._pairs(seed, 0)
        plan = sequential_batches(pairs.lengths - 1, batch_tokens=batch_tokens)
        return MaskedBatches(self.store, pairs, plan, self.masker, seed, 0)

    def lines(self) -> list[str]:
        """Returns what was read and what became of it, line by line, for a terminal."""
        return self.units.lines(self.store.report)

    def as_dict(self) -> dict[str, Any]:
        """Returns the same as plain values, for JSON."""
        units = self.units
        counts = {"sentences": len(units.starts), "overlong": units.overlong}
        return {**self.store.report.as_dict(), **counts, "used": units.used, "dropped": units.dropped}

    def _pairs(self, seed: int, epoch: int) -> Pairs:
        config = self.masker.config
        return plan_pairs(self.units, config=config, max_seq_len=self.max_seq_len, seed=seed, epoch=epoch)


def masked_text(store: SentenceStore, *, masker: Masker, max_seq_len: int) -> MaskedText:
    """Makes rows of at most ``max_seq_len`` ids possible; see ``fit_rows`` for what is refused."""
    return MaskedText(store, fit_rows(store, config=masker.config, max_seq_len=max_seq_len), masker, max_seq_len)
