"""Noise on text: words left out, replaced and moved, so that a translator learns to read what is not well put."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.ranges import CountOrZero, Seed, Share

STREAM = 1  # of the numbers that decide, apart from those of sampling


@dataclass(frozen=True)
class NoiseConfig:
    """How text is disturbed (Edunov et al. 2018, arXiv:1808.09381, section 3)."""

    delete: Share = 0.1
    """Probability that a word is left out."""
    replace: Share = 0.1
    """Probability that a word which is not left out becomes ``filler``."""
    swap: CountOrZero = 3
    """Places that a word may move at the most; 0 moves none."""
    filler: str = "_"
    """What stands in the place of a word that is replaced."""
    seed: Seed = 0
    """Decides, with the number of the text."""


def disturb(text: str, config: NoiseConfig, number: int, joiner: str = " ") -> str:
    """Returns ``text`` with noise, which follows from the text, its number and the config alone.

    Words are moved by sorting them by their place plus a number from 0 to ``swap + 1``, so that none gets more than
    ``swap`` places away (Lample et al. 2018, arXiv:1711.00043, section 2.3). A text never becomes empty: where all of
    its words would be left out, the first one stays.

    Args:
        text: on one line.
        config: how much of it.
        number: of the text, such as that of its line.
        joiner: what stands between two words; where that is nothing, each character is one.
    """
    words = text.split() if joiner else [character for character in text if not character.isspace()]
    if not words:
        return text
    deleted, replaced, moved = _numbers(config.seed, number, len(words))
    kept = np.flatnonzero(deleted >= config.delete)
    kept = kept if len(kept) else np.zeros(1, dtype=np.int64)
    left = [config.filler if replaced[at] < config.replace else words[at] for at in kept.tolist()]
    order = np.argsort(np.arange(len(left)) + moved[kept] * (config.swap + 1), kind="stable")
    return joiner.join(left[place] for place in order.tolist())


def _numbers(seed: int, number: int, count: int) -> NDArray[np.float64]:
    """Returns three rows of numbers in [0, 1), a function of seed, number and count alone."""
    bits = np.random.Philox(key=seed, counter=[0, number, STREAM, 0]).random_raw(3 * count)
    numbers = (np.asarray(bits, dtype=np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers.reshape(count, 3).T
