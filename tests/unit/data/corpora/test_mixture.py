"""Shares of corpora by their formula, and the order in which rows are drawn."""

from collections import Counter

import numpy as np
import pytest

from clearhead.data.corpora.mixture import Corpus, check_names, copies, counts, drawn, shares, spans


def test_shares_are_those_of_the_formula() -> None:
    """By hand: sizes 900 and 100; their roots are 30 and 10; with a weight of 3 both are 30."""
    plain, heavy = [Corpus("a"), Corpus("b")], [Corpus("a"), Corpus("b", weight=3.0)]
    assert shares([900, 100], plain, 1.0) == pytest.approx([0.9, 0.1])
    assert shares([900, 100], plain, 2.0) == pytest.approx([0.75, 0.25])
    assert shares([900, 100], heavy, 2.0) == pytest.approx([0.5, 0.5])
    assert shares([900, 100], heavy, 1.0) == pytest.approx([0.75, 0.25])
    assert shares([900, 100], plain, 1e6) == pytest.approx([0.5, 0.5], abs=1e-5)
    assert counts([900, 100], plain, 2.0) == [750, 250]
    assert counts([900, 100], plain, 1.0) == [900, 100]
    assert counts([10_000, 1], plain, 1.0) == [10_000, 1]
    assert counts([10_000, 1], [Corpus("a", weight=1000.0), Corpus("b", weight=1e-3)], 1.0) == [10_001, 1]


@pytest.mark.parametrize(("size", "count"), [(10, 10), (10, 4), (10, 7), (10, 23), (1, 5), (7, 1)])
def test_no_row_comes_again_before_all_have_come(size: int, count: int) -> None:
    """Over epochs the rows come in passes, each of which has all; an epoch follows from (seed, epoch) alone."""
    epochs = [drawn(size, count, seed=3, corpus=1, epoch=epoch) for epoch in range(6)]
    assert [len(epoch) for epoch in epochs] == [count] * 6
    whole = np.concatenate(epochs)
    for first in range(0, len(whole), size):
        part = whole[first : first + size].tolist()
        assert len(set(part)) == len(part)
        assert set(part) <= set(range(size))
    for number in (5, 2, 0):
        assert np.array_equal(drawn(size, count, seed=3, corpus=1, epoch=number), epochs[number])


def test_the_order_is_one_of_seed_corpus_and_pass() -> None:
    def order(seed: int, corpus: int, epoch: int) -> list[int]:
        return drawn(50, 50, seed=seed, corpus=corpus, epoch=epoch).tolist()

    orders = [order(0, 0, 0), order(1, 0, 0), order(0, 1, 0), order(0, 0, 1)]
    assert len({tuple(each) for each in orders}) == 4
    assert drawn(3, 3, seed=2**64 - 1, corpus=0, epoch=0).tolist() != []


def test_spans_cut_the_passes_where_epochs_end() -> None:
    assert list(spans(10, 4, 2)) == [(0, 8, 10, 10), (1, 0, 2, 10)]
    assert list(spans(10, 25, 0)) == [(0, 0, 10, 10), (1, 0, 10, 10), (2, 0, 5, 10)]


@pytest.mark.parametrize(("count", "size"), [(0, 4), (3, 10), (10, 10), (25, 10), (7, 3)])
def test_copies_are_even(count: int, size: int) -> None:
    each = list(copies(count, size))
    assert (len(each), sum(each)) == (size, count)
    assert max(each) - min(each) <= 1
    assert set(Counter(each)) <= {count // size, count // size + 1}


def test_names_tell_corpora_apart() -> None:
    assert Corpus("data/news").label == "news"
    assert Corpus("data/news", "n").label == "n"
    check_names([Corpus("a/news"), Corpus("b/news", "other")])
    with pytest.raises(ValueError, match=r"two are called 'news'; give one of them another name"):
        check_names([Corpus("a/news"), Corpus("b/news")])
    with pytest.raises(ValueError, match="table 2 has no path"):
        check_names([Corpus("a"), Corpus()])
