"""How a search is asked, and what it finds; no torch."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from clearhead.errors import SettingError
from clearhead.ranges import Beam, CountOrZero, LengthPenalty

TextOf = Callable[[list[int]], Hashable]
"""What a reader sees of a hypothesis's pieces."""


@dataclass(frozen=True)
class SearchConfig:
    """How a translation is chosen.

    Complete hypotheses go before those that the length limit cut off, each sort by its rank score; a complete one that
    goes before a cut one of better rank score is marked ``cut_better``.
    """

    beam: Beam = 5
    """Hypotheses kept per sentence; 1 is greedy."""
    n_best: Beam = 1
    """Hypotheses returned per sentence, at most ``beam``; no two of them have the same text."""
    length_penalty: LengthPenalty = 1.0
    """Hypotheses are ranked by score / ((5 + pieces) / 6) ** length_penalty (Wu et al. 2016); 0 ranks by score."""
    limit: CountOrZero = 0
    """Most pieces of a translation, end mark included, besides a prefix and required phrases; 0: by the pieces of the
    source, as the training text has it."""

    def __post_init__(self) -> None:
        if self.n_best > self.beam:
            raise SettingError(f"n_best = {self.n_best}: must be at most beam = {self.beam}")


@dataclass(frozen=True)
class Hypothesis:
    """A whole translation, or what there is of it at the length limit."""

    ids: list[int]
    """Pieces without the end mark."""
    log_probs: list[float]
    """Of each piece, and of the end mark where ``complete``."""
    score: float
    """The sum of ``log_probs``."""
    rank_score: float
    """The score with its length penalty, by which hypotheses are ranked."""
    complete: bool
    """False where the length limit came before the end mark."""
    cut_better: bool = False
    """True if the length limit cut off another hypothesis, which has a better rank score."""


def penalty_of(length: int, length_penalty: float) -> float:
    """What a score is divided by for ``length`` pieces, end mark included."""
    return float(((5 + length) / 6) ** length_penalty)
