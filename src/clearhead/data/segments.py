"""Rows of one or two segments, ``[CLS] A [SEP]`` or ``[CLS] A [SEP] B [SEP]``, laid out for a whole batch at once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from clearhead.errors import UsageError
from clearhead.text.special import ABSENT, SpecialIds


class SegmentRows(NamedTuple):
    """Rows of segments as ids, padded on the right."""

    ids: Int[ndarray, "batch seq"]
    segments: Int[ndarray, "batch seq"]
    """1 in B and the mark after it, else 0."""
    mask: Bool[ndarray, "batch seq"]
    """True at pieces and marks, False at padding."""
    text: Bool[ndarray, "batch seq"]
    """True at pieces, False at marks and padding."""


def check_marks(special: SpecialIds) -> None:
    """Raises UsageError if a vocabulary lacks [CLS] or [SEP]."""
    if ABSENT in (special.cls, special.sep):
        raise UsageError("tokenizer has no [CLS] and [SEP]: train it with tokenizer.specials = 'masked'")


def marks(*, pair: bool) -> int:
    """Returns the number of marks, [CLS] and [SEP], in a row of one segment or two."""
    return 3 if pair else 2


def lay_out(ids: Any, spans: Int[ndarray, "batch 4"], *, special: SpecialIds, pair: bool) -> SegmentRows:
    """Copies segments out of one long array of ids and puts the marks around them.

    Args:
        ids: the ids of all texts, for example a mapped file.
        spans: begin and end of A in ``ids``, then of B.
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
