"""How two rows of numbers go together: Pearson's correlation, and ranks, whose correlation is Spearman's."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def correlation(first: Float[ndarray, " lines"], second: Float[ndarray, " lines"]) -> float:
    """Returns Pearson's correlation; 0 where one of both is the same everywhere."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:  # the rounded mean may differ from equal values
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def ranks(values: Float[ndarray, " lines"]) -> Float[ndarray, " lines"]:
    """Returns ranks from 1; equal values share their mean rank."""
    _, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[number]
