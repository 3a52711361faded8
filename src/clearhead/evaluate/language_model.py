"""Scores of a language model: one total in nats, divided by what each score is per."""

import math
from dataclasses import dataclass

from clearhead.data.documents import TextReport


@dataclass(frozen=True)
class LanguageModelScores:
    """How well a text is predicted, all of it counted."""

    tokens: int
    """Targets: the pieces of the text and its end marks."""
    loss: float
    """Mean negative log-likelihood, in nats per token."""
    perplexity: float
    """exp(loss): depends on the vocabulary."""
    nats_per_character: float
    bits_per_byte: float
    """Of the text in UTF-8: the same for every vocabulary."""
    words: int
    """Words between white space, and one end for every line feed, as word-level corpora count."""
    word_perplexity: float
    """exp(total / words): what word-level models report; a sub-word model sums its pieces."""


def score_language_model(total: float, report: TextReport) -> LanguageModelScores:
    """Turns the total negative log-likelihood of a text, in nats, into scores; ``report`` has the counts."""
    words = report.words + report.line_feeds
    return LanguageModelScores(
        tokens=report.tokens,
        loss=total / report.tokens,
        perplexity=_exp(total / report.tokens),
        nats_per_character=total / report.characters,
        bits_per_byte=total / math.log(2) / report.bytes,
        words=words,
        word_perplexity=_exp(total / max(words, 1)),
    )


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
