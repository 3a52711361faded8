"""Scores of a language model: the total loss of a text, per token, character, byte and word."""

import math
from dataclasses import dataclass

from clearhead.data.documents import TextReport


@dataclass(frozen=True)
class LanguageModelScores:
    """How well a model predicts a text, over all of its tokens."""

    tokens: int
    """Number of targets: the pieces of the text and its end marks."""
    loss: float
    """Mean negative log-likelihood, in nats per token."""
    perplexity: float
    """exp(loss); comparable only between models with the same vocabulary."""
    nats_per_character: float
    bits_per_byte: float
    """Per byte of the text in UTF-8; comparable between all vocabularies."""
    words: int
    """Number of words between white space, plus one for every line feed, as word-level corpora count."""
    word_perplexity: float
    """exp(total / words): what word-level models report; a sub-word model sums over the pieces of a word."""


def score_language_model(total: float, report: TextReport) -> LanguageModelScores:
    """Computes the scores from the total negative log-likelihood of a text, in nats; ``report`` has the counts."""
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
