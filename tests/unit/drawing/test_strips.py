"""Strips of blocks: one scale for several, every height, what is not finite."""

import math

import pytest

from clearhead.drawing.strips import SPARKS, ends, strip


def test_a_strip_goes_from_low_to_high_and_marks_what_is_not_finite() -> None:
    assert strip([float(n) for n in range(8)], 8, (0.0, 7.0)) == [SPARKS]
    assert strip([1.0, math.nan, math.inf, 2.0], 4, (1.0, 2.0)) == ["▁??█"]
    assert strip([1.0, math.nan, 2.0], 3, (1.0, 2.0), rows=2) == ["  █", "▁?█"]
    assert strip([5.0], 3, (5.0, 5.0)) == ["▁▁▁"]


def test_strips_of_one_scale_can_be_compared() -> None:
    low, high = strip([0.0, 1.0], 2, (0.0, 15.0), rows=2), strip([14.0, 15.0], 2, (0.0, 15.0), rows=2)
    assert low == ["  ", "▁▂"]
    assert high == ["▇█", "██"]


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_every_height_is_another_picture(rows: int) -> None:
    most = 8 * rows
    drawn = [tuple(strip([float(at)], 1, (0.0, most - 1.0), rows=rows)) for at in range(most)]
    assert len(set(drawn)) == most
    assert [sum(SPARKS.find(block) + 1 for block in column) for column in drawn] == list(range(1, most + 1))


def test_ends_are_those_of_the_finite_values() -> None:
    assert ends([2.0, -math.inf, math.nan, 1.0]) == (1.0, 2.0)
    assert ends([math.nan]) == (0.0, 0.0)
