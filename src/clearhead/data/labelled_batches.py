"""Labelled text as ids, cut to the model's length under a stated policy, and in batches by length."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from clearhead.data.batching import BatchPlan, plan_batches, sequential_batches
from clearhead.data.labelled import LabelledText
from clearhead.data.segments import Laid, check_marks, collate, lay_out, marks
from clearhead.errors import DataError, UsageError
from clearhead.text.overlong import OverlongLine
from clearhead.text.special import ABSENT, SpecialIds
from clearhead.text.tokenizer import Tokenizer


@dataclass
class LabelledReport:
    """What was read and what became of it: ``pieces_in == pieces_used + pieces_dropped``."""

    file: str
    rows: int
    blank: int
    """Lines of white space, which are skipped."""
    labels: dict[str, int] | dict[str, float]
    """Lines of each class; of numbers the least, mean and greatest."""
    pieces_in: int
    pieces_used: int
    pieces_dropped: int
    truncated: int
    """Lines that lost pieces."""
    unknown: int
    """Of the pieces that are used."""
    p50: int
    p95: int
    longest: int
    """Pieces of a line, of both texts together, before any is cut."""
    digest: str = ""
    """Tells the text from all other: SHA-256 of classes, labels and texts."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as plain values, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Returns the report as text, line by line, for a terminal."""
        found = [f"{self.file}: {self.rows:,} lines"]
        found += [f"  {self.blank:,} blank lines skipped"] if self.blank else []
        labels = (f"{k} {v:,}" if isinstance(v, int) else f"{k} {v:g}" for k, v in self.labels.items())
        found += [f"  labels: {', '.join(labels)}"]
        parts = f"{self.pieces_used:,} used + {self.pieces_dropped:,} dropped"
        found += [f"  {self.pieces_in:,} pieces in = {parts}; {self.unknown:,} unknown"]
        found += [f"  {self.truncated:,} lines truncated"] if self.truncated else []
        return [*found, f"  pieces a line: median {self.p50}, 95 % {self.p95}, longest {self.longest}"]


@dataclass(frozen=True)
class TextRows:
    """Texts, or pairs of texts, as ids that fit a model."""

    ids: NDArray[np.int64]
    spans: Int[ndarray, "rows 4"]
    """Where in ``ids`` the first text begins and ends, and the second; one text: the last two are the same."""
    pair: bool
    cut: Int[ndarray, " rows"]
    """Pieces that each row lost."""

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def lengths(self) -> Int[ndarray, " rows"]:
        """Ids of each row, marks included."""
        return self.spans[:, 1] - self.spans[:, 0] + self.spans[:, 3] - self.spans[:, 2] + marks(pair=self.pair)


@dataclass(frozen=True)
class LabelledRows:
    """Encoded lines with their labels, in the order of the file."""

    rows: TextRows
    labels: Int[ndarray, " rows"] | Float[ndarray, " rows"]
    classes: tuple[str, ...]
    special: SpecialIds
    report: LabelledReport
    redraw: "Redraw | None" = None
    """Encodes lines anew in each pass of training, if the tokenizer has BPE-dropout."""


@dataclass(frozen=True)
class LabelledBatch:
    """Rows of ``[CLS] A [SEP]`` or ``[CLS] A [SEP] B [SEP]`` and what they are."""

    ids: Int[Tensor, "batch seq"]
    segments: Int[Tensor, "batch seq"]
    """1 in B and the mark behind it, else 0."""
    mask: Bool[Tensor, "batch seq"]
    """True where a real piece or mark is."""
    labels: Int[Tensor, " batch"] | Float[Tensor, " batch"]
    """Numbers of classes, or numbers."""
    indices: Int[Tensor, " batch"]
    """Which lines these are."""
    target_count: int
    """Rows: what a summed loss is divided by."""

    def to(self, device: torch.device | str) -> "LabelledBatch":
        """Returns the batch on ``device``; from pinned memory the copy does not wait."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "LabelledBatch":
        """Returns the batch in page-locked memory; DataLoader calls this."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "LabelledBatch":
        changed: Any = {name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **changed)


def encode_texts(
    first: Sequence[str], second: Sequence[str] | None, *, tokenizer: Tokenizer, max_seq_len: int
) -> TextRows:
    """Encodes texts, or pairs, and cuts what is too long: the longer text of a row loses its last pieces first.

    Of two texts of like length the second one loses its last piece first. How much each row lost is in ``cut``.

    Raises:
        UsageError: the tokenizer has not the marks, or rows are too short for one piece of each text.
    """
    check_marks(tokenizer.ids)
    pair = second is not None
    room = max_seq_len - marks(pair=pair)
    least = marks(pair=pair) + 1 + pair
    if max_seq_len < least:
        raise UsageError(f"max_seq_len = {max_seq_len}: must be at least {least}, a piece of each text and the marks")
    encoded = tokenizer.encode_batch([*first, *(second or [])])
    lengths = np.array([len(row) for row in encoded], np.int64)
    begins = np.cumsum(lengths) - lengths
    a, b = lengths[: len(first)], lengths[len(first) :] if pair else np.zeros(len(first), np.int64)
    kept_a = np.minimum(a, np.maximum(room - b, room - room // 2)) if pair else np.minimum(a, room)
    kept_b = np.minimum(b, room - kept_a)
    a_begin, b_begin = begins[: len(first)], begins[len(first) :] if pair else begins[: len(first)]
    spans = np.stack([a_begin, a_begin + kept_a, b_begin, b_begin + kept_b], axis=1)
    ids = np.array([i for row in encoded for i in row], np.int64)
    return TextRows(ids, spans, pair, a + b - kept_a - kept_b)


def encode_labelled(
    text: LabelledText, *, tokenizer: Tokenizer, max_seq_len: int, overlong: OverlongLine = "truncate"
) -> LabelledRows:
    """Encodes the lines of a split; see ``encode_texts``.

    Raises:
        DataError: a line has too many pieces under the policy ``error``, or none at all.
    """
    second = [line.pair or "" for line in text.lines] if text.pairs else None
    rows = encode_texts([line.text for line in text.lines], second, tokenizer=tokenizer, max_seq_len=max_seq_len)
    empty = rows.spans[:, 1] == rows.spans[:, 0]
    if rows.pair:
        empty |= rows.spans[:, 3] == rows.spans[:, 2]
    if empty.any():
        line = text.lines[int(np.flatnonzero(empty)[0])]
        raise DataError(f"{line.where}: the tokenizer leaves no piece of a text; it has signs alone that it drops")
    if overlong == "error" and rows.cut.any():
        number = int(np.flatnonzero(rows.cut)[0])
        count = int(rows.lengths[number] + rows.cut[number])
        rule = f"{count} pieces and marks, more than max_seq_len = {max_seq_len}"
        raise DataError(f"{text.lines[number].where}: {rule}; overlong may be truncate")
    report = _report(text, rows, tokenizer.ids.unk)
    redraw = Redraw(text, tokenizer, max_seq_len) if tokenizer.config.dropout else None
    return LabelledRows(rows, text.labels, text.classes, tokenizer.ids, report, redraw)


def _report(text: LabelledText, rows: TextRows, unk: int) -> LabelledReport:
    values = text.labels
    labels: dict[str, int] | dict[str, float] = text.counts
    if not text.classes:
        labels = {"least": float(values.min()), "mean": float(values.mean()), "greatest": float(values.max())}
    used = rows.lengths - marks(pair=rows.pair)
    before = np.concatenate([[0], np.cumsum(rows.ids == unk)])
    unknown = before[rows.spans[:, [1, 3]]] - before[rows.spans[:, [0, 2]]]
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
    """Encodes lines by BPE-dropout (Provilkov et al. 2020, arXiv:1910.13267), another draw each pass.

    Each line draws from (seed, epoch, its number). A line that would be too long for the model that way stays as it was
    encoded at first.
    """

    text: LabelledText
    tokenizer: Tokenizer
    max_seq_len: int

    def lay_out(self, rows: TextRows, chosen: Int[ndarray, " batch"], *, seed: int, epoch: int) -> Laid:
        """Returns the lines ``chosen`` of ``rows``."""
        seeds = [(row, np.random.SeedSequence([seed, epoch], spawn_key=(4, row))) for row in chosen.tolist()]
        first, second = zip(*(self._pieces(rows, row, drawn) for row, drawn in seeds), strict=True)
        return collate(first, second if rows.pair else None, special=self.tokenizer.ids)

    def _pieces(self, rows: TextRows, row: int, seed: np.random.SeedSequence) -> tuple[list[int], list[int]]:
        line, rng = self.text.lines[row], np.random.default_rng(seed)
        texts = [line.text, line.pair or ""] if rows.pair else [line.text]
        drawn = [self.tokenizer.encode_with_dropout(text, rng) for text in texts]
        if sum(map(len, drawn)) + marks(pair=rows.pair) > self.max_seq_len:
            a, a_end, b, b_end = rows.spans[row]
            return rows.ids[a:a_end].tolist(), rows.ids[b:b_end].tolist()
        return drawn[0], drawn[-1]


@dataclass(frozen=True)
class WordDropout:
    """Hides pieces of the text from a classifier that learns (Iyyer et al. 2015, Deep Unordered Composition, 3.1).

    There words are left out; here [MASK] stands in their place, as in the pretraining of BERT (Devlin et al. 2019,
    arXiv:1810.04805, 3.1), so that positions and lengths stay, or the unknown piece where a vocabulary has no [MASK].
    Each line draws from (seed, epoch, its number), whoever its batch mates are and whoever prepares it.
    """

    share: float
    """Probability of each piece that is no mark to be hidden."""

    def hide(
        self, laid: Laid, rows: Int[ndarray, " batch"], special: SpecialIds, *, seed: int, epoch: int
    ) -> Int[ndarray, "batch seq"]:
        """Returns the ids of the lines ``rows`` with some of them hidden.

        Raises:
            UsageError: the vocabulary has nothing to hide them by.
        """
        stands = special.unk if special.mask == ABSENT else special.mask
        if stands == ABSENT:
            raise UsageError(f"word_dropout = {self.share}: tokenizer has neither [MASK] nor an unknown piece")
        draws = np.ones(laid.ids.shape)
        for at, (row, length) in enumerate(zip(rows.tolist(), laid.mask.sum(axis=1).tolist(), strict=True)):
            drawn = np.random.SeedSequence([seed, epoch], spawn_key=(3, row))
            draws[at, :length] = np.random.default_rng(drawn).random(length)
        return np.where(laid.text & (draws < self.share), stands, laid.ids)


@dataclass(frozen=True)
class LabelledBatches(Dataset[LabelledBatch]):
    """Labelled lines in batches: item ``i`` is batch ``i``. Every line is in exactly one of them."""

    source: LabelledRows
    plan: BatchPlan
    """Which lines each batch holds."""
    dropout: WordDropout | None = None
    redraw: Redraw | None = None

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> LabelledBatch:
        chosen, rows = self.plan[index], self.source.rows
        when = {"seed": self.plan.seed, "epoch": self.plan.epoch}
        if self.redraw:
            laid = self.redraw.lay_out(rows, chosen, **when)
        else:
            laid = lay_out(rows.ids, rows.spans[chosen], special=self.source.special, pair=rows.pair)
        labels = self.source.labels[chosen]
        ids = self.dropout.hide(laid, chosen, self.source.special, **when) if self.dropout else laid.ids
        return LabelledBatch(
            ids=torch.from_numpy(ids),
            segments=torch.from_numpy(laid.segments),
            mask=torch.from_numpy(laid.mask),
            labels=torch.from_numpy(labels if labels.dtype == np.int64 else labels.astype(np.float32)),
            indices=torch.from_numpy(chosen.astype(np.int64)),
            target_count=len(chosen),
        )


def training_batches(
    source: LabelledRows, *, batch_tokens: int, seed: int, epoch: int, word_dropout: float = 0.0
) -> LabelledBatches:
    """Plans one epoch: lines of like length go together, which ones and their order are drawn from (seed, epoch).

    Args:
        source: the lines.
        batch_tokens: ids of a batch at most, padding included; BPE-dropout makes lines longer and is not counted.
        seed: with ``epoch`` decides the order, what is hidden, and how BPE-dropout divides words.
        epoch: from 0.
        word_dropout: share of the pieces that are hidden; see ``WordDropout``.

    Raises:
        UsageError: one line alone is longer than ``batch_tokens``.
    """
    sizes = source.rows.lengths - 1  # the plan adds a mark to every length
    plan = plan_batches(sizes, sizes, batch_tokens=batch_tokens, seed=seed, epoch=epoch)
    hidden = WordDropout(word_dropout) if word_dropout else None
    return LabelledBatches(source, plan, hidden, source.redraw)


def evaluation_batches(source: LabelledRows, *, batch_tokens: int) -> LabelledBatches:
    """Plans a scoring: nothing random, longest lines first; ``indices`` say which line each result belongs to."""
    return LabelledBatches(source, sequential_batches(source.rows.lengths - 1, batch_tokens=batch_tokens))
