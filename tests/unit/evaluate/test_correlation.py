"""Correlations are those of NumPy, ranks those of a sorted list where equal values share theirs."""

import numpy as np
import pytest

from clearhead.evaluate.correlation import correlation, ranks


def test_correlation_is_numpys() -> None:
    first, second = np.random.default_rng(1).normal(size=(2, 30))
    assert correlation(first, second) == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert correlation(first, 2 * first + 3) == pytest.approx(1)
    assert correlation(first, np.full(30, 0.1)) == 0.0


def test_equal_values_share_their_rank() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]
    first = np.arange(9.0)
    assert correlation(ranks(np.exp(first)), ranks(first)) == pytest.approx(1)
