"""Curves in HTML without a script: axes with round ticks, curves that can be told apart."""

import re

import pytest

from clearhead.drawing.colours import HUES
from clearhead.drawing.plot import plot, span, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.93, 1.31, [1, 1.1, 1.2, 1.3]),
        (-2e-5, 3e-5, [-2e-5, -1e-5, 0, 1e-5, 2e-5, 3e-5]),
        (40.0, 120.0, [40, 60, 80, 100, 120]),
        (7.0, 7.0, [7]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_an_axis_begins_at_0_where_values_come_near_it() -> None:
    assert span([0.1, 1.0]) == (0.0, 1.0)
    assert span([0.9, 1.0]) == (0.9, 1.0)
    assert span([0.9, 1.0], from_zero=True) == (0.0, 1.0)
    assert span([-3.0, -1.0]) == (-3.0, -1.0)
    assert span([2.0, 2.0, float("nan")]) == (2.0, 2.2)
    assert span([float("inf")]) == (0.0, 0.1)


def test_no_two_of_many_curves_look_alike() -> None:
    drawn = plot("step", [0.0, 1.0], {f"curve {number}": [0.0, float(number)] for number in range(3 * len(HUES))})
    looks = re.findall(r'<polyline style="--hue:(#\w+)" stroke-dasharray="([\d ]*)"', drawn)
    assert len(looks) == len(set(looks)) == 3 * len(HUES)


def test_points_lie_between_the_axes_and_names_are_escaped() -> None:
    drawn = plot("<step>", [40.0, 80.0, 120.0], {"<b>": [1.0, 3.0, 2.0]})
    assert "<b>" not in drawn
    assert "&lt;step&gt;" in drawn
    (points,) = re.findall(r'points="([^"]+)"', drawn)
    places = [tuple(map(float, point.split(","))) for point in points.split()]
    assert [x for x, _ in places] == [52.0, 330.0, 608.0]
    assert [y for _, y in places] == [pytest.approx(138.0), pytest.approx(10.0), pytest.approx(74.0)]
