"""The scale of weights: in order of lightness, even to the eye, legible on."""

import itertools

import pytest

from clearhead.drawing.colours import DARK, LIGHT, MARKS, colour, ink, place


def lightness(shade: str) -> float:
    """OKLab's, after Ottosson 2020."""
    parts = [value / 255 for value in bytes.fromhex(shade[1:])]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    middle = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return 0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short


def luminance(shade: str) -> float:
    parts = [value / 255 for value in bytes.fromhex(shade[1:])]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("stops", "sign"), [(LIGHT, -1), (DARK, 1)])
def test_lightness_goes_in_equal_steps(stops: tuple[str, ...], sign: int) -> None:
    steps = [sign * (lightness(b) - lightness(a)) for a, b in itertools.pairwise(stops)]
    assert steps == pytest.approx([0.0925] * 8, abs=0.004)


@pytest.mark.parametrize("stops", [LIGHT, DARK])
def test_a_weight_lies_between_its_stops(stops: tuple[str, ...]) -> None:
    for number, stop in enumerate(stops):
        assert colour((number / 8) ** 2, stops) == stop
    assert colour(-1.0, stops) == colour(0.0, stops) == stops[0]
    assert colour(2.0, stops) == stops[-1]
    between = [lightness(colour(each / 200, stops)) for each in range(201)]
    steps = [b - a if stops is DARK else a - b for a, b in itertools.pairwise(between)]
    assert min(steps) > -0.001, "further than a colour of 8 bits is rounded"


@pytest.mark.parametrize("stops", [LIGHT, DARK])
def test_numbers_on_it_are_legible(stops: tuple[str, ...]) -> None:
    for each in range(101):
        ground, letters = luminance(colour(each / 100, stops)), luminance(ink(each / 100, stops))
        assert (max(ground, letters) + 0.05) / (min(ground, letters) + 0.05) >= 4.5


def test_the_marks_of_a_legend_stand_apart() -> None:
    places = list(map(place, MARKS))
    assert (places[0], places[-1]) == (0.0, 1.0)
    assert min(b - a for a, b in itertools.pairwise(places)) > 0.07
