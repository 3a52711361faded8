"""The settings of sampling, and the numbers that decide: what every way to draw a piece shares; no torch."""

from dataclasses import dataclass

import numpy as np

from clearhead.ranges import Bias, CountOrZero, Id, Penalty, Repetition, Seed, Share, ShareAboveZero, Temperature


@dataclass(frozen=True)
class SamplingConfig:
    """How the next piece is drawn."""

    temperature: Temperature = 1.0
    """Logits are divided by it; 0 is greedy: the best piece, of equal ones that with the lowest id."""
    top_k: CountOrZero = 0
    """Keep the k best pieces and what ties with the last of them (Fan et al. 2018, arXiv:1805.04833); 0 is off."""
    top_p: Share = 1.0
    """Keep the fewest best pieces with at least this probability, of equal ones those with the lowest ids (nucleus,
    Holtzman et al. 2020, arXiv:1904.09751); 1 is off."""
    min_p: Share = 0.0
    """Keep pieces with at least this share of the best one's probability (Nguyen et al. 2024, arXiv:2407.01082)."""
    typical_p: ShareAboveZero = 1.0
    """Keep the pieces whose surprise is nearest to the entropy, up to this probability, and ties (Meister et al. 2023,
    arXiv:2202.00666); 1 is off."""
    repetition_penalty: Repetition = 1.0
    """Logits of pieces in prompt or text are divided by it, negative ones multiplied (CTRL, Keskar et al. 2019,
    arXiv:1909.05858); 1 is off."""
    presence_penalty: Penalty = 0.0
    """Taken off the logit of each piece that was generated, prompt not counted (OpenAI's definition); 0 is off."""
    frequency_penalty: Penalty = 0.0
    """Taken off as often as the piece was generated, prompt not counted (OpenAI's definition); 0 is off."""
    no_repeat_ngram: CountOrZero = 0
    """No run of this many pieces comes twice in prompt and text; 0 is off."""
    seed: Seed = 0
    """Seed of ``uniform_of``, which gives the numbers that decide."""
    bias: tuple[tuple[Id, Bias], ...] = ()
    """Pieces by their numbers, and what is added to the logit of each before all else (OpenAI's definition)."""


def uniform_of(seed: int, sample_index: int, position: int, *, stream: int = 0) -> float:
    """Returns a pseudo-random number in [0, 1) that is a function of these integers alone.

    It is 53 bits of Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), whose key is the seed
    and whose counter is the rest, so that a text is the same whatever batch it is made in.

    Args:
        seed: 0 to 2**64 - 1.
        sample_index: which text of the run.
        position: which piece of the text.
        stream: numbers the purposes, where a position needs several numbers (see ``speculative``).
    """
    bits = np.random.Philox(key=seed, counter=[position, sample_index, stream, 0]).random_raw()
    return float(int(bits) >> 11) * 2.0**-53
