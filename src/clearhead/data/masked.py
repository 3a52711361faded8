"""Batches for masked language models: rows of segments with hidden pieces, drawn anew each epoch from a seed."""

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
from clearhead.data.segments import SegmentRows, check_marks, lay_out
from clearhead.data.sentences import SentenceStore, Units
from clearhead.errors import UsageError
from clearhead.text.special import ABSENT
from clearhead.text.tokenizer import Tokenizer
from clearhead.text.words import word_borders


@dataclass(frozen=True)
class MaskedBatch:
    """Rows of ``[CLS] A [SEP] B [SEP]``, or of one segment, in which some pieces are masked or replaced."""

    ids: Int[Tensor, "batch seq"]
    segments: Int[Tensor, "batch seq"]
    """1 in B and the mark after it, else 0."""
    mask: Bool[Tensor, "batch seq"]
    """True at pieces and marks, False at padding."""
    positions: Int[Tensor, " masked"]
    """Positions to predict, counted through all rows: ``hidden.flatten(0, 1)[positions]``."""
    targets: Int[Tensor, " masked"]
    """The original pieces at ``positions``."""
    next_labels: Int[Tensor, " batch"] | None
    """1 if B follows A, 0 if it is from another document; None for one segment."""
    target_count: int
    """Number of pieces to predict: what a summed loss is divided by."""
    documents: Int[Tensor, " batch"] | None = None
    """Number, from 1, of the document in which each row begins."""

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
    """Hides pieces as BERT does (Devlin et al. 2019, arXiv:1810.04805, 3.1).

    By default 15 % of the pieces are to be predicted; of these, 80 % become [MASK], 10 % a random piece, and 10 % stay.
    Each row draws from its own seed, so that batches and data workers do not change what is hidden.
    """

    def __init__(self, tokenizer: Tokenizer, config: MaskedConfig) -> None:
        """Raises UsageError if the tokenizer lacks [CLS], [SEP] or [MASK]."""
        check_marks(tokenizer.ids)
        if tokenizer.ids.mask == ABSENT:
            raise UsageError("tokenizer has no [MASK]: train it with tokenizer.specials = 'masked'")
        self.config, self.special = config, tokenizer.ids
        special = set(vars(tokenizer.ids).values())
        self._random = np.array([i for i in range(tokenizer.vocab_size) if i not in special], np.int64)
        self._borders = word_borders(tokenizer) if config.whole_word else None

    def hide(
        self, layout: SegmentRows, seeds: list[np.random.SeedSequence]
    ) -> tuple[Int[ndarray, "batch seq"], Int[ndarray, " masked"]]:
        """Returns the ids that the model sees, and the positions, counted through all rows, that it is to predict."""
        draws = np.full((3, *layout.ids.shape), 2.0)
        border = np.empty((len(seeds), 1))
        for row, (seed, length) in enumerate(zip(seeds, layout.mask.sum(axis=1).tolist(), strict=True)):
            drawn = np.random.default_rng(seed).random(3 * length + 1)
            draws[:, row, :length] = drawn[1:].reshape(3, length)
            border[row] = drawn[0]
        order, fate, piece = draws
        chosen = self._choose(layout, order, border)
        hidden = np.where(fate < self.config.mask_share, self.special.mask, layout.ids)
        replaced = (fate >= self.config.mask_share) & (fate < self.config.mask_share + self.config.random_share)
        substitutes = self._random[(piece * len(self._random)).astype(np.int64).clip(max=len(self._random) - 1)]
        ids = np.where(chosen, np.where(replaced, substitutes, hidden), layout.ids)
        return ids, np.flatnonzero(chosen)

    def _choose(
        self, layout: SegmentRows, draws: Float[ndarray, "batch seq"], border: Float[ndarray, "batch 1"]
    ) -> Bool[ndarray, "batch seq"]:
        """Chooses words (or single pieces) in the order of their ``draws`` until ``mask_fraction`` is reached.

        The word in which the fraction is reached is chosen with such a probability (by ``border``, one draw per row)
        that the fraction is right on average. A row with any piece that may be hidden gets at least one word chosen.
        """
        allowed = layout.text & (layout.ids != self.special.unk)
        words = self._words(layout)
        # all pieces of a word get the draw of its first piece; pieces that may not be hidden are sorted last
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

    def _words(self, layout: SegmentRows) -> Bool[ndarray, "batch seq"]:
        """Returns True where a word starts; without ``whole_word``, everywhere."""
        if self._borders is None:
            return np.ones_like(layout.mask)
        begins, ends = self._borders
        after = np.roll(layout.text, 1, axis=1) & ~np.roll(ends[layout.ids], 1, axis=1)
        return begins[layout.ids] | ~layout.text | ~after


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
        layout = lay_out(self.store.ids, self.pairs.spans[rows], special=self.masker.special, pair=self.pairs.pair)
        seeds = [np.random.SeedSequence([self.seed, self.epoch], spawn_key=(1, row)) for row in rows.tolist()]
        ids, positions = self.masker.hide(layout, seeds)
        labels = torch.from_numpy(self.pairs.is_next[rows].astype(np.int64)) if self.pairs.pair else None
        return MaskedBatch(
            ids=torch.from_numpy(ids),
            segments=torch.from_numpy(layout.segments),
            mask=torch.from_numpy(layout.mask),
            positions=torch.from_numpy(positions),
            targets=torch.from_numpy(layout.ids.reshape(-1)[positions]),
            next_labels=labels,
            target_count=len(positions),
            documents=torch.from_numpy(self.store.document_at(self.pairs.spans[rows, 0])),
        )


@dataclass(frozen=True)
class MaskedText:
    """Encoded text from which the batches of every epoch are made."""

    store: SentenceStore
    units: Units
    masker: Masker
    max_seq_len: int

    def training(self, *, batch_tokens: int, seed: int, epoch: int) -> MaskedBatches:
        """Plans one epoch: the rows, their hidden pieces and their order are drawn from (seed, epoch).

        Raises:
            UsageError: a row alone is longer than ``batch_tokens``.
        """
        pairs = self._pairs(seed, epoch)
        # the plan adds a mark to every length
        sizes = pairs.lengths - 1
        plan = plan_batches(sizes, sizes, batch_tokens=batch_tokens, seed=seed, epoch=epoch)
        return MaskedBatches(self.store, pairs, plan, self.masker, seed, epoch)

    def evaluation(self, *, batch_tokens: int, seed: int = 0) -> MaskedBatches:
        """Plans an evaluation: the same rows and hidden pieces every time, longest rows first."""
        pairs = self._pairs(seed, 0)
        plan = sequential_batches(pairs.lengths - 1, batch_tokens=batch_tokens)
        return MaskedBatches(self.store, pairs, plan, self.masker, seed, 0)

    def lines(self) -> list[str]:
        """Returns what was read and what became of it, line by line, for a terminal."""
        return self.units.lines(self.store.report)

    def as_dict(self) -> dict[str, Any]:
        """Returns the same counts as plain values, for JSON."""
        units = self.units
        counts = {"sentences": len(units.starts), "overlong": units.overlong}
        return {**self.store.report.as_dict(), **counts, "used": units.used, "dropped": units.dropped}

    def _pairs(self, seed: int, epoch: int) -> Pairs:
        config = self.masker.config
        return plan_pairs(self.units, config=config, max_seq_len=self.max_seq_len, seed=seed, epoch=epoch)


def masked_text(store: SentenceStore, *, masker: Masker, max_seq_len: int) -> MaskedText:
    """Fits the sentences of ``store`` into rows of at most ``max_seq_len`` ids; see ``fit_rows`` for the errors."""
    return MaskedText(store, fit_rows(store, config=masker.config, max_seq_len=max_seq_len), masker, max_seq_len)
