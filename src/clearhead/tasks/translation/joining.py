"""Puts the translations of a text's parts together."""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from clearhead.tasks.translation.parts import Job
from clearhead.tasks.translation.result import EMPTY, Translation
from clearhead.text.division import Division
from clearhead.text.language import Language


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
        before=sum(part.before for part in parts),
        complete=all(part.complete for part in parts),
        cut_better=any(part.cut_better for part in parts),
        parts=len(parts),
        dropped=division.dropped,
        cuts=division.cuts,
        of_parts=list(parts),
    )


def finished(
    job: Job, count: int, *, count_unknown: Callable[[list[int]], int], language: Language
) -> list[Translation]:
    """Returns the ``count`` best translations of a text whose parts are translated.

    Args:
        job: the text.
        count: how many; there may be fewer.
        count_unknown: counts the source pieces that are not in the vocabulary.
        language: that the translations are in.
    """
    unknown = sum(count_unknown(part.ids) for part in job.division.parts)
    translations = []
    for parts in best_together(job.ranked, count):
        whole = joined(parts, job.division, language)
        # an empty text has no unmet phrases
        unmet = job.unmet([part.target_ids for part in parts]) if whole.source_pieces else []
        entries = [(entry.source, entry.target) for entry in job.terms.entries]
        translations.append(replace(whole, unmet=unmet, unknown=unknown, glossary=entries))
    return one_each(translations)


def one_each(translations: Sequence[Translation]) -> list[Translation]:
    """Returns translations without those that read as one before them."""
    first: dict[str, Translation] = {}
    for translation in translations:
        first.setdefault(translation.text, translation)
    return list(first.values())
