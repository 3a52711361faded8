"""Translations of parts are put together: the best combinations come first, numbers add up, layout stays."""

import itertools
import math
from dataclasses import replace

import pytest

from clearhead.tasks.translation.joining import best_together, joined, one_each
from clearhead.tasks.translation.result import EMPTY, Translation
from clearhead.text.division import Division, Part
from clearhead.text.language import read_language


def made(text: str, rank_score: float, *, complete: bool = True) -> Translation:
    return Translation(text, 2 * rank_score, rank_score, [text], [2 * rank_score], ["x", "</s>"], complete)


RANKED = [
    [made("a", -1.0), made("b", -1.25), made("c", -5.0)],
    [made("d", -0.5), made("e", -3.0, complete=False)],
    [made("f", -2.0), made("g", -2.125)],
]


def test_the_best_combinations_are_those_of_all() -> None:
    everything = [list(parts) for parts in itertools.product(*RANKED)]
    everything.sort(key=lambda parts: (sum(not one.complete for one in parts), -sum(one.rank_score for one in parts)))
    for count in (1, 3, 20):
        assert best_together(RANKED, count) == everything[:count]
    assert best_together([], 3) == [[]]


def test_numbers_add_up() -> None:
    parts = [ranked[0] for ranked in RANKED]
    division = Division([Part("", [1]), Part(" ", [2]), Part("\n\n", [3])], "\n", 4, 5)
    whole = joined(parts, division, read_language("en"))
    assert (whole.text, whole.parts, whole.dropped, whole.cuts) == ("a d\n\nf\n", 3, 4, 5)
    assert (whole.score, whole.rank_score) == (pytest.approx(-7.0), pytest.approx(-3.5))
    assert whole.score == pytest.approx(math.fsum(whole.log_probs))
    assert len(whole.source_pieces) == 6
    assert whole.of_parts == parts
    (alone,) = [joined(parts[:1], Division([Part("  ", [1])]), read_language("en"))]
    assert alone == replace(parts[0], text="  a")
    assert joined([], Division(after=" "), read_language("en")) == replace(EMPTY, text=" ")


def test_of_those_that_read_the_same_the_first_stays() -> None:
    first, other, same = made("a", -1.0), made("b", -2.0), made("a", -3.0)
    assert one_each([first, other, same]) == [first, other]
