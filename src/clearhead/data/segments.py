"""One or two segments in a row: ``[CLS] A [SEP]`` and ``[CLS] A [SEP] B [SEP]``, laid out for a whole batch at once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from clearhead.errors import UsageError
from clearhead.text.special import ABSENT, SpecialIds


class Laid(NamedTuple):
    """Rows of ids, padded on the right."""

    ids: Int[ndarray, "batch seq"]
    segments: Int[ndarray, "batch seq"]
    """1 in B and the mark behind it, else 0."""
    mask: Bool[ndarray, "batch seq"]
    """True where there is no padding."""
    text: Bool[ndarray, "batch seq"]
    """True where there is neither padding nor a mark."""


def check_marks(special: SpecialIds) -> None:
    """Raises UsageError if a vocabulary has not the marks of segments."""
    if ABSENT in (special.cls, special.sep):
        raise UsageError("tokenizer has no [CLS] and [SEP]: train it with tokenizer.specials = 'masked'")


def marks(*, pair: bool) -> int:
    """Returns how many marks stand in a row of one segment, or of two."""
    return 3 if pair else 2


def lay_out(ids: Any, spans: Int[ndarray, "batch 4"], *, special: SpecialIds, pair: bool) -> Laid:
    """Copies segments out of a row of ids.

    Args:
        ids: all ids in a row, for example a mapped file.
        spans: where in ``ids`` A begins and ends, and B.
        special: the marks.
        pair: whether there is a B; without one its columns are not looked at.
    """
    a_begin, a_end, b_begin, b_end = (column[:, None] for column in spans.astype(np.int64).T)
    first = a_end - a_begin + 1  # where the mark behind A stands
    last = first + 1 + b_end - b_begin if pair else first
    at = np.arange(int(last.max(initial=0)) + 1)[None, :]
    in_a, in_b = (at > 0) & (at < first), (at > first) & (at < last)
    place = np.where(in_b, b_begin + at - first - 1, a_begin + at - 1)
    text = in_a | in_b
    laid = np.full(text.shape, special.fill, np.int64)
    laid[text] = ids[place[text]]
    laid[:, 0] = special.cls
    laid[(at == first) | (at == last)] = special.sep
    return Laid(laid, ((at > first) & (at <= last)).astype(np.int64), at <= last, text)


def collate(first: Sequence[Any], second: Sequence[Any] | None, *, special: SpecialIds) -> Laid:
    """Lays out rows of ids, one text or two each; ids are without marks."""
    rows = [*first, *(second or [])]
    lengths = np.array([len(row) for row in rows], np.int64)
    ends = np.cumsum(lengths)
    both = np.stack([ends - lengths, ends], axis=1)
    ids = np.concatenate([np.asarray(row, np.int64) for row in rows] or [np.zeros(0, np.int64)])
    a, b = both[: len(first)], both[len(first) :] if second is not None else np.zeros((len(first), 2), np.int64)
    return lay_out(ids, np.concatenate([a, b], axis=1), special=special, pair=second is not None)
