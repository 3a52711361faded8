"""Rows of one or two segments, ``[CLS] A [SEP]`` or ``[CLS] A [SEP] B [SEP]``: cut to a length, laid out; no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clearhead.errors import DataError, UsageError
from clearhead.text.overlong import OverlongLine
from clearhead.text.special import ABSENT, SpecialIds
from clearhead.text.tokenizer import Tokenizer

Integers = NDArray[np.integer[Any]]


class SegmentRows(NamedTuple):
    """Rows of segments as ids, padded on the right; all arrays are [batch, seq]."""

    ids: Integers
    segments: Integers
    """1 in B and the mark after it, else 0."""
    mask: NDArray[np.bool_]
    """True at pieces and marks, False at padding."""
    text: NDArray[np.bool_]
    """True at pieces, False at marks and padding."""

    def unpadded(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Returns ids and segments of all rows, one after another without padding, and how many each row has."""
        ids, segments = (each[self.mask].astype(np.int32) for each in (self.ids, self.segments))
        return ids, segments, self.mask.sum(axis=1, dtype=np.int32)


@dataclass(frozen=True)
class EncodedTexts:
    """Texts, or pairs of texts, as ids that fit a model."""

    ids: NDArray[np.int64]
    spans: Integers
    """[rows, 4]: begin and end of the first text in ``ids``, then of the second; of one text the last two are equal."""
    pair: bool
    """Whether a row has two texts."""
    cut: Integers
    """[rows], number of pieces that each row lost to truncation."""

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def lengths(self) -> Integers:
        """Number of ids in each row, marks included."""
        return self.spans[:, 1] - self.spans[:, 0] + self.spans[:, 3] - self.spans[:, 2] + marks(pair=self.pair)


def check_marks(special: SpecialIds) -> None:
    """Raises UsageError if a vocabulary lacks [CLS] or [SEP]."""
    if ABSENT in (special.cls, special.sep):
        raise UsageError("tokenizer has no [CLS] and [SEP]: train it with tokenizer.specials = 'masked'")


def marks(*, pair: bool) -> int:
    """Returns the number of marks, [CLS] and [SEP], in a row of one segment or two."""
    return 3 if pair else 2


def lay_out(ids: Any, spans: Integers, *, special: SpecialIds, pair: bool) -> SegmentRows:
    """Copies segments out of one long array of ids and puts the marks around them.

    Args:
        ids: the ids of all texts, for example a mapped file.
        spans: [batch, 4], begin and end of A in ``ids``, then of B.
        special: ids of the marks.
        pair: whether there is a B; if not, its columns in ``spans`` are ignored.
    """
    a_begin, a_end, b_begin, b_end = (column[:, None] for column in spans.astype(np.int64).T)
    first = a_end - a_begin + 1  # position of the mark after A
    last = first + 1 + b_end - b_begin if pair else first  # position of the last mark
    at = np.arange(int(last.max(initial=0)) + 1)[None, :]
    in_a, in_b = (at > 0) & (at < first), (at > first) & (at < last)
    place = np.where(in_b, b_begin + at - first - 1, a_begin + at - 1)
    text = in_a | in_b
    row_ids = np.full(text.shape, special.fill, np.int64)
    row_ids[text] = ids[place[text]]
    row_ids[:, 0] = special.cls
    row_ids[(at == first) | (at == last)] = special.sep
    return SegmentRows(row_ids, ((at > first) & (at <= last)).astype(np.int64), at <= last, text)


def collate_segments(first: Sequence[Any], second: Sequence[Any] | None, *, special: SpecialIds) -> SegmentRows:
    """Lays out rows of one or two texts; the ids of the texts are without marks."""
    rows = [*first, *(second or [])]
    lengths = np.array([len(row) for row in rows], np.int64)
    ends = np.cumsum(lengths)
    both = np.stack([ends - lengths, ends], axis=1)
    ids = np.concatenate([np.asarray(row, np.int64) for row in rows] or [np.zeros(0, np.int64)])
    a, b = both[: len(first)], both[len(first) :] if second is not None else np.zeros((len(first), 2), np.int64)
    return lay_out(ids, np.concatenate([a, b], axis=1), special=special, pair=second is not None)


def encode_texts(
    first: Sequence[str], second: Sequence[str] | None, *, tokenizer: Tokenizer, max_seq_len: int
) -> EncodedTexts:
    """Encodes texts, or pairs of texts, and truncates rows that are too long.

    The longer text of a row loses its last pieces until both are equally long, then both do, the second one first.

    Raises:
        UsageError: the tokenizer lacks [CLS] or [SEP], or ``max_seq_len`` leaves no room for a piece of each text.
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
    a, b = lengths[: len(first)], lengths[len(first) :] if pair else np.zeros(len(first), np.int64)  # pieces of each
    kept_a = np.minimum(a, np.maximum(room - b, room - room // 2)) if pair else np.minimum(a, room)
    kept_b = np.minimum(b, room - kept_a)
    for kept, whole, rows in ((kept_a, a, encoded[: len(first)]), (kept_b, b, encoded[len(first) :])):
        for number in np.flatnonzero(kept < whole).tolist() if rows else []:
            kept[number] = tokenizer.border(rows[number], int(kept[number]))
    a_begin, b_begin = begins[: len(first)], begins[len(first) :] if pair else begins[: len(first)]
    spans = np.stack([a_begin, a_begin + kept_a, b_begin, b_begin + kept_b], axis=1)
    ids = np.array([i for row in encoded for i in row], np.int64)
    return EncodedTexts(ids, spans, pair, a + b - kept_a - kept_b)


def check_rows(rows: EncodedTexts, places: Sequence[str], *, max_seq_len: int, overlong: OverlongLine) -> None:
    """Checks rows of ``encode_texts``; ``places`` is what an error calls each.

    Raises:
        DataError: a text is empty, or was cut under the policy ``error``.
    """
    empty = rows.spans[:, 1] == rows.spans[:, 0]
    if rows.pair:
        empty |= rows.spans[:, 3] == rows.spans[:, 2]
    if empty.any():
        place = places[int(np.flatnonzero(empty)[0])]
        raise DataError(f"{place}: a text gives no pieces; the tokenizer drops all of its characters")
    if overlong == "error" and rows.cut.any():
        number = int(np.flatnonzero(rows.cut)[0])
        count = int(rows.lengths[number] + rows.cut[number])
        rule = f"{count} pieces and marks, more than max_seq_len = {max_seq_len}"
        raise DataError(f"{places[number]}: {rule}; overlong may be truncate")
