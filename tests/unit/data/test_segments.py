"""Segments in rows: marks where they belong, padding behind, nothing else changed."""

import numpy as np
import pytest

from clearhead.data.segments import check_marks, collate_segments, lay_out, marks
from clearhead.errors import UsageError
from clearhead.text.special import SPECIAL_IDS, SpecialIds

SPECIAL = SpecialIds(cls=4, sep=5, mask=6)


def test_two_segments() -> None:
    laid = collate_segments([[7, 8], [9]], [[10], [11, 12, 13]], special=SPECIAL)
    assert laid.ids.tolist() == [[4, 7, 8, 5, 10, 5, 0], [4, 9, 5, 11, 12, 13, 5]]
    assert laid.segments.tolist() == [[0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1]]
    assert laid.mask.tolist() == [[True] * 6 + [False], [True] * 7]
    assert laid.text.tolist() == [
        [False, True, True, False, True, False, False],
        [False, True, False, True, True, True, False],
    ]
    assert marks(pair=True) == 3


def test_one_segment() -> None:
    laid = collate_segments([[7, 8], [], [9]], None, special=SPECIAL)
    assert laid.ids.tolist() == [[4, 7, 8, 5], [4, 5, 0, 0], [4, 9, 5, 0]]
    assert laid.segments.sum() == 0
    assert laid.mask.sum(axis=1).tolist() == [4, 2, 3]
    assert marks(pair=False) == 2


def test_spans_of_a_row_of_ids() -> None:
    ids = np.arange(100, 120, dtype=np.uint16)
    laid = lay_out(ids, np.array([[3, 5, 10, 12], [0, 1, 19, 20]]), special=SPECIAL, pair=True)
    assert laid.ids.tolist() == [[4, 103, 104, 5, 110, 111, 5], [4, 100, 5, 119, 5, 0, 0]]
    laid = lay_out(ids, np.array([[3, 5, 5, 5]]), special=SpecialIds(pad=-1, eos=2, cls=4, sep=5), pair=False)
    assert laid.ids.tolist() == [[4, 103, 104, 5]]


def test_marks_must_be_there() -> None:
    check_marks(SPECIAL)
    with pytest.raises(UsageError, match=r"tokenizer has no \[CLS\] and \[SEP\]: train it with tokenizer\.specials"):
        check_marks(SPECIAL_IDS)
