"""A translation, and the translations of a text's parts put together."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from clearhead.text.division import Division
from clearhead.text.language import Language


@dataclass(frozen=True)
class Translation:
    """One translation of one text."""

    text: str
    score: float
    """Sum of ``log_probs``, in nats."""
    rank_score: float
    """Score with its length penalty."""
    pieces: list[str]
    """Target pieces, including the end mark if the model generated it."""
    log_probs: list[float]
    """The log-probability of each piece, in nats."""
    source_pieces: list[str]
    """Source pieces, with the end mark."""
    complete: bool = True
    """False if the translation reached the length limit before an end mark."""
    alignment: list[int] | None = None
    """For each target piece the source piece with the most attention; None unless asked for."""
    parts: int = 1
    """How many parts the text was divided into: sentences, or pieces of one that was too long."""
    dropped: int = 0
    """Source pieces left out under the policy ``truncate``."""
    cuts: int = 0
    """How often a sentence had to be cut inside of a clause, because it was too long."""
    unknown: int = 0
    """Source pieces that are not in the vocabulary."""
    unmet: list[str] = field(default_factory=list)
    """Required phrases that it does not contain."""
    source_ids: list[int] = field(default_factory=list, repr=False)
    """Source pieces as ids, without the end mark."""
    target_ids: list[int] = field(default_factory=list, repr=False)
    """Ids of ``pieces``."""
    of_parts: "list[Translation]" = field(default_factory=list, repr=False, compare=False)
    """The translations of the parts, where there are several."""


EMPTY = Translation("", 0.0, 0.0, [], [], [])
"""The translation of an empty text."""


def best_together(ranked: Sequence[Sequence[Translation]], count: int) -> list[list[Translation]]:
    """Returns the ``count`` best combinations of a translation for each part, best first.

    Args:
        ranked: for each part its translations, best first.
        count: how many combinations; there may be fewer.
    """
    best: list[list[Translation]] = [[]]
    for translations in ranked:
        longer = [[*chosen, translation] for chosen in best for translation in translations]
        best = heapq.nsmallest(count, longer, key=_worth)
    return best


def _worth(parts: list[Translation]) -> tuple[int, float]:
    """What combinations are ordered by: those that are complete come first."""
    return sum(not part.complete for part in parts), -math.fsum(part.rank_score for part in parts)


def joined(parts: Sequence[Translation], division: Division, language: Language) -> Translation:
    """Returns the translation of a text from those of its parts; ``language`` is what they are in."""
    text = division.join([part.text for part in parts], language)
    if len(parts) < 2:
        return replace(parts[0] if parts else EMPTY, text=text, dropped=division.dropped, cuts=division.cuts)
    return Translation(
        text=text,
        score=math.fsum(part.score for part in parts),
        rank_score=math.fsum(part.rank_score for part in parts),
        pieces=[piece for part in parts for piece in part.pieces],
        log_probs=[value for part in parts for value in part.log_probs],
        source_pieces=[piece for part in parts for piece in part.source_pieces],
        complete=all(part.complete for part in parts),
        parts=len(parts),
        dropped=division.dropped,
        cuts=division.cuts,
        of_parts=list(parts),
    )


def joined_alignment(parts: Sequence[Translation]) -> list[int]:
    """Returns the alignment of a text from those of its parts, which have one where they have pieces."""
    alignment, before = [], 0
    for part in parts:
        alignment += [before + piece for piece in part.alignment or []]
        before += len(part.source_pieces)
    return alignment
