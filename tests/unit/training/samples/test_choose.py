"""Which lines are shown: by the seed alone, of a middling length, and more of them begin with the same ones."""

from itertools import islice

import numpy as np
import pytest

from clearhead.training.samples.choose import MOST_CHARACTERS, dealt, in_drawn_order, most_pieces, sampled_line

LENGTHS = np.random.default_rng(1).integers(1, 60, size=500)


def test_the_order_follows_from_the_seed_alone() -> None:
    first = list(in_drawn_order(LENGTHS, 7))
    np.random.seed(3)
    assert list(in_drawn_order(LENGTHS, 7)) == first
    assert list(islice(in_drawn_order(LENGTHS, 7), 3)) == first[:3]
    assert list(in_drawn_order(LENGTHS, 8)) != first
    assert len(set(first)) == len(first) > 100


def test_lines_are_of_a_middling_length() -> None:
    chosen = LENGTHS[list(in_drawn_order(LENGTHS, 0))]
    assert np.percentile(LENGTHS, 25) - 1 <= chosen.min()
    assert chosen.max() <= np.percentile(LENGTHS, 50) + 1


@pytest.mark.parametrize("lengths", [[3], [1, 100], [5, 5, 5], [0, 1, 2**20]])
def test_there_is_always_one(lengths: list[int]) -> None:
    assert list(in_drawn_order(np.array(lengths), 2**64 - 1))


def test_texts_and_pieces_are_bounded() -> None:
    assert most_pieces([2, 10, 4]) == 14
    assert most_pieces([1000]) == 48
    line = sampled_line("a" * 9999, "b", "c" * 401, score=1.0)
    assert (len(line.given), line.wanted, len(line.made), line.score) == (MOST_CHARACTERS, "b", MOST_CHARACTERS, 1.0)


def test_corpora_take_turns() -> None:
    assert dealt(3, 2) == [2, 1]
    assert dealt(3, 5) == [1, 1, 1, 0, 0]
    assert dealt(0, 2) == [0, 0]
    assert sum(dealt(100, 7)) == 100
