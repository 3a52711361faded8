"""Labelled text as ids: encoded, cut to the model's length, and put into batches by length."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor
from torch.utils.data import Dataset

from clearhead.brief import Brief
from clearhead.data.batching import BatchPlan, plan_batches, sequential_batches
from clearhead.data.labels.labelled import LabelledText
from clearhead.data.segments import (
    EncodedTexts,
    SegmentRows,
    check_rows,
    collate_segments,
    encode_texts,
    lay_out,
    marks,
)
from clearhead.errors import UsageError
from clearhead.text.overlong import OverlongLine
from clearhead.text.special import ABSENT, SpecialIds
from clearhead.text.tokenizer import Tokenizer


@dataclass
class LabelledReport(Brief):
    """What was read and what became of it: ``pieces_in == pieces_used + pieces_dropped``."""

    file: str
    rows: int
    blank: int
    """Blank lines, which are skipped."""
    labels: dict[str, int] | dict[str, float]
    """Number of lines of each class; if labels are numbers, the least, the mean and the greatest."""
    pieces_in: int
    pieces_used: int
    pieces_dropped: int
    truncated: int
    """Lines that lost pieces."""
    unknown: int
    """Unknown pieces among those used."""
    p50: int
    p95: int
    longest: int
    """Pieces of a line, both texts together, before truncation: median (``p50``), 95th percentile and maximum."""
    digest: str = ""
    """Identifies the text: SHA-256 of classes, labels and texts."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as plain values, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Returns the report as text, line by line, for a terminal."""
        text = [f"{self.file}: {self.rows:,} lines"]
        if self.blank:
            text.append(f"  {self.blank:,} blank lines skipped")
        labels = (f"{k} {v:,}" if isinstance(v, int) else f"{k} {v:g}" for k, v in self.labels.items())
        text.append(f"  labels: {', '.join(labels)}")
        parts = f"{self.pieces_used:,} used + {self.pieces_dropped:,} dropped"
        text.append(f"  {self.pieces_in:,} pieces in = {parts}; {self.unknown:,} unknown")
        if self.truncated:
            text.append(f"  {self.truncated:,} lines truncated")
        return [*text, f"  pieces a line: median {self.p50}, 95 % {self.p95}, longest {self.longest}"]


@dataclass(frozen=True)
class LabelledRows:
    """Encoded lines with their labels, in the order of the file."""

    rows: EncodedTexts
    labels: Int[ndarray, " rows"] | Float[ndarray, " rows"]
    classes: tuple[str, ...]
    special: SpecialIds
    report: LabelledReport
    redraw: "Redraw | None" = None
    """Encodes the lines again in each epoch of training, if the tokenizer has BPE-dropout."""


@dataclass(frozen=True)
class LabelledBatch:
    """Rows of ``[CLS] A [SEP]`` or ``[CLS] A [SEP] B [SEP]`` with their labels."""

    ids: Int[Tensor, "batch seq"]
    segments: Int[Tensor, "batch seq"]
    """1 in B and the mark after it, else 0."""
    mask: Bool[Tensor, "batch seq"]
    """True at pieces and marks, False at padding."""
    labels: Int[Tensor, " batch"] | Float[Tensor, " batch"]
    """Class numbers (integers), or the numbers to predict (floats)."""
    indices: Int[Tensor, " batch"]
    """Numbers of the lines, from 0."""
    target_count: int
    """Number of rows: what a summed loss is divided by."""

    def to(self, device: torch.device | str) -> "LabelledBatch":
        """Returns the batch on ``device``; from pinned memory the copy does not wait."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "LabelledBatch":
        """Returns the batch in page-locked memory; DataLoader calls this."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "LabelledBatch":
        changed: Any = {name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **changed)


def encode_labelled(
    text: LabelledText, *, tokenizer: Tokenizer, max_seq_len: int, overlong: OverlongLine = "truncate"
) -> LabelledRows:
    """Encodes the lines of a split; see ``encode_texts``.

    Raises:
        DataError: a line has too many pieces under the policy ``error``, or a text has none at all.
    """
    second = [line.pair or "" for line in text.lines] if text.pairs else None
    rows = encode_texts([line.text for line in text.lines], second, tokenizer=tokenizer, max_seq_len=max_seq_len)
    check_rows(rows, [line.where for line in text.lines], max_seq_len=max_seq_len, overlong=overlong)
    report = _report(text, rows, tokenizer.ids.unk)
    redraw = Redraw(text, tokenizer, max_seq_len) if tokenizer.config.dropout else None
    return LabelledRows(rows, text.labels, text.classes, tokenizer.ids, report, redraw)


def unlabelled(rows: EncodedTexts, special: SpecialIds) -> LabelledRows:
    """Returns rows of which nobody knows the label, for a model to say it; nothing is reported of them."""
    unknown: Any = dict.fromkeys([each.name for each in fields(LabelledReport)], 0)
    report = LabelledReport(**{**unknown, "file": "", "rows": len(rows), "labels": {}, "digest": ""})
    return LabelledRows(rows, np.zeros(len(rows)), (), special, report)


def _report(text: LabelledText, rows: EncodedTexts, unk: int) -> LabelledReport:
    values = text.labels
    labels: dict[str, int] | dict[str, float] = text.counts
    if not text.classes:
        labels = {"least": float(values.min()), "mean": float(values.mean()), "greatest": float(values.max())}
    used = rows.lengths - marks(pair=rows.pair)
    unknown_before = np.concatenate([[0], np.cumsum(rows.ids == unk)])
    unknown = unknown_before[rows.spans[:, [1, 3]]] - unknown_before[rows.spans[:, [0, 2]]]
    p50, p95, longest = np.percentile(used + rows.cut, [50, 95, 100], method="higher").astype(int).tolist()
    return LabelledReport(
        file=text.file,
        rows=len(text),
        blank=text.blank,
        labels=labels,
        pieces_in=len(rows.ids),
        pieces_used=int(used.sum()),
        pieces_dropped=int(rows.cut.sum()),
        truncated=int((rows.cut > 0).sum()),
        unknown=int(unknown.sum()),
        p50=p50,
        p95=p95,
        longest=longest,
        digest=text.digest,
    )


@dataclass(frozen=True)
class Redraw:
    """Encodes lines with BPE-dropout (Provilkov et al. 2020, arXiv:1910.13267), drawn anew in each epoch.

    Each line draws from (seed, epoch, number of the line). If the drawn pieces are too many for the model, the line
    keeps its encoding without dropout.
    """

    text: LabelledText
    tokenizer: Tokenizer
    max_seq_len: int

    def lay_out(self, rows: EncodedTexts, numbers: Int[ndarray, " batch"], *, seed: int, epoch: int) -> SegmentRows:
        """Returns the lines ``numbers`` of ``rows``, encoded with dropout."""
        seeds = [(row, np.random.SeedSequence([seed, epoch], spawn_key=(4, row))) for row in numbers.tolist()]
        first, second = zip(*(self._pieces(rows, row, row_seed) for row, row_seed in seeds), strict=True)
        return collate_segments(first, second if rows.pair else None, special=self.tokenizer.ids)

    def _pieces(self, rows: EncodedTexts, row: int, seed: np.random.SeedSequence) -> tuple[list[int], list[int]]:
        line, rng = self.text.lines[row], np.random.default_rng(seed)
        texts = [line.text, line.pair or ""] if rows.pair else [line.text]
        drawn = [self.tokenizer.encode_with_dropout(text, rng) for text in texts]
        if sum(map(len, drawn)) + marks(pair=rows.pair) > self.max_seq_len:
            a, a_end, b, b_end = rows.spans[row]
            return rows.ids[a:a_end].tolist(), rows.ids[b:b_end].tolist()
        return drawn[0], drawn[-1]


@dataclass(frozen=True)
class WordDropout:
    """Hides pieces of the text from a classifier in training (Iyyer et al. 2015, Deep Unordered Composition, 3.1).

    The paper leaves words out; here [MASK] replaces them, as in the pretraining of BERT (Devlin et al. 2019,
    arXiv:1810.04805, 3.1), so that positions and lengths stay the same; a vocabulary without [MASK] uses the unknown
    piece. Each line draws from (seed, epoch, number of the line), so that batches and data workers change nothing.
    """

    share: float
    """Probability that a piece is hidden; marks never are."""

    def hide(
        self, layout: SegmentRows, rows: Int[ndarray, " batch"], special: SpecialIds, *, seed: int, epoch: int
    ) -> Int[ndarray, "batch seq"]:
        """Returns the ids of the lines with numbers ``rows``, some of them hidden.

        Raises:
            UsageError: the vocabulary has neither [MASK] nor an unknown piece.
        """
        substitute = special.unk if special.mask == ABSENT else special.mask
        if substitute == ABSENT:
            raise UsageError(f"word_dropout = {self.share}: tokenizer has neither [MASK] nor an unknown piece")
        draws = np.ones(layout.ids.shape)
        for at, (row, length) in enumerate(zip(rows.tolist(), layout.mask.sum(axis=1).tolist(), strict=True)):
            row_seed = np.random.SeedSequence([seed, epoch], spawn_key=(3, row))
            draws[at, :length] = np.random.default_rng(row_seed).random(length)
        return np.where(layout.text & (draws < self.share), substitute, layout.ids)


@dataclass(frozen=True)
class LabelledBatches(Dataset[LabelledBatch]):
    """Labelled lines in batches: item ``i`` is batch ``i``; every line is in exactly one batch."""

    source: LabelledRows
    plan: BatchPlan
    """Which lines each batch holds."""
    dropout: WordDropout | None = None
    redraw: Redraw | None = None

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> LabelledBatch:
        numbers, rows = self.plan[index], self.source.rows
        seeds = {"seed": self.plan.seed, "epoch": self.plan.epoch}
        if self.redraw:
            layout = self.redraw.lay_out(rows, numbers, **seeds)
        else:
            layout = lay_out(rows.ids, rows.spans[numbers], special=self.source.special, pair=rows.pair)
        labels = self.source.labels[numbers]
        ids = self.dropout.hide(layout, numbers, self.source.special, **seeds) if self.dropout else layout.ids
        return LabelledBatch(
            ids=torch.from_numpy(ids),
            segments=torch.from_numpy(layout.segments),
            mask=torch.from_numpy(layout.mask),
            labels=torch.from_numpy(labels if labels.dtype == np.int64 else labels.astype(np.float32)),
            indices=torch.from_numpy(numbers.astype(np.int64)),
            target_count=len(numbers),
        )


def training_batches(
    source: LabelledRows, *, batch_tokens: int, seed: int, epoch: int, word_dropout: float = 0.0
) -> LabelledBatches:
    """Plans one epoch: batches of lines of similar length, drawn and ordered at random from (seed, epoch).

    Args:
        source: the lines.
        batch_tokens: maximum number of ids in a batch, padding included. Lengths are those without BPE-dropout, which
            makes lines longer.
        seed: with ``epoch`` decides the order, what is hidden, and how BPE-dropout divides words.
        epoch: from 0.
        word_dropout: share of the pieces that is hidden; see ``WordDropout``.

    Raises:
        UsageError: one line alone is longer than ``batch_tokens``.
    """
    sizes = source.rows.lengths - 1  # the plan adds a mark to every length
    plan = plan_batches(sizes, sizes, batch_tokens=batch_tokens, seed=seed, epoch=epoch)
    hidden = WordDropout(word_dropout) if word_dropout else None
    return LabelledBatches(source, plan, hidden, source.redraw)


def evaluation_batches(source: LabelledRows, *, batch_tokens: int) -> LabelledBatches:
    """Plans an evaluation: longest lines first, nothing random; ``indices`` say which line each row is."""
    return LabelledBatches(source, sequential_batches(source.rows.lengths - 1, batch_tokens=batch_tokens))
