"""Which lines of the valid split a run shows at each evaluation: they follow from the seed and the text alone."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from clearhead.training.events import SampledLine

SHORTEST, LONGEST = 25, 50
"""Percentiles of the lengths between which the lines are: long enough to tell something, and cheap."""
MOST_PIECES = 48
"""Most pieces that a model writes for a sample."""
MOST_CHARACTERS = 400
"""Of each text of a sample that is kept."""


def in_drawn_order(lengths: NDArray[np.integer], seed: int) -> Iterator[int]:
    """Yields the numbers of lines of a middling length, in an order that is drawn from ``seed``.

    Who takes more of them gets those of who takes fewer too.
    """
    low, high = np.percentile(lengths, SHORTEST, method="lower"), np.percentile(lengths, LONGEST, method="higher")
    rows = np.flatnonzero((lengths >= low) & (lengths <= high))
    yield from random_order(seed).permutation(rows).tolist()


def random_order(seed: int) -> np.random.Generator:
    """Returns the generator by which samples are chosen; nothing else draws from it."""
    return np.random.default_rng(np.random.SeedSequence([seed], spawn_key=(5,)))


def most_pieces(wanted: Iterable[int]) -> int:
    """Returns how many pieces a sample may have, given how many each of the texts has that stand in the split."""
    return min(5 * max(wanted) // 4 + 2, MOST_PIECES)


def sampled_line(given: str, wanted: str, made: str, *, score: float | None = None, source: str = "") -> SampledLine:
    """Returns a sample, of long texts their beginnings."""
    return SampledLine(given[:MOST_CHARACTERS], wanted[:MOST_CHARACTERS], made[:MOST_CHARACTERS], score, source)


def dealt(count: int, parts: int) -> list[int]:
    """Deals ``count`` samples out among corpora, in turn from the first one on."""
    return [count // parts + (number < count % parts) for number in range(parts)]
