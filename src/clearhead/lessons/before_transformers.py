"""What came before the Transformer, and where each stops: n-grams, recurrent networks, one fixed vector.

n-grams with Kneser-Ney smoothing; an encoder and a decoder with one vector between them (Cho et al., 2014; Sutskever et
al., 2014) and with attention (Bahdanau et al., 2015); gradients over a distance (Bengio et al., 1994).
"""

from dataclasses import dataclass
from math import exp
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clearhead.data.demo_corpus import demo_pairs
from clearhead.drawing.report import Curves, Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.models.ngram import Ngram, NgramConfig
from clearhead.models.rnn import RNNConfig, RNNTranslator
from clearhead.nn.attention import SelfAttention
from clearhead.progress import Progress, silent
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

LIMITS = {"lines": (200, 10_000), "steps": (1, 2000), "distance": (8, 256)}
SHORT = {"lines": 1000, "steps": 60}
ORDERS = (1, 2, 3, 4, 5)
LENGTHS = (2, 4, 8, 12)
BEGIN, PIECES, ROWS = 1, 20, 64  # of the texts to repeat
KINDS: tuple[Literal["none", "additive"], ...] = ("none", "additive")


@dataclass(frozen=True)
class Before:
    """What was measured."""

    perplexity: list[float]
    """Of n-gram models from one piece to five, on lines that they have not seen."""
    unseen: list[float]
    """Share of the n-grams of these lines that the training text does not have."""
    found: dict[str, list[float]]
    """Share of the pieces that are repeated right, by what the decoder sees of the source, for each length."""
    after_error: tuple[float, float]
    """The same for the piece after a right one, and after a wrong one."""
    gradients: dict[str, list[float]]
    """Of the last output by the input so far back, relative to that by the last input, by kind of network."""


def run(
    *, lines: int = 3000, steps: int = 300, distance: int = 64, seed: int = 0, progress: Progress = silent
) -> Before:
    """Counts n-grams, trains two translators to repeat their source, and takes gradients over a distance."""
    perplexity, unseen = ngrams(lines, seed)
    translators = {kind: trained(kind, steps, seed, progress) for kind in KINDS}
    found = {kind: [right(translator, length, seed) for length in LENGTHS] for kind, translator in translators.items()}
    after = tuple(right(translators["none"], LENGTHS[1], seed, wrong=wrong) for wrong in (False, True))
    return Before(perplexity, unseen, found, (after[0], after[1]), gradients(distance, seed))
