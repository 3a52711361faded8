"""Scores of a language model: each is the total by its own count."""

import math

import pytest

from clearhead.data.documents import TextReport
from clearhead.evaluate.language_model import score_language_model

REPORT = TextReport(["a.txt"], documents=1, characters=40, bytes=50, words=8, line_feeds=2, tokens=20)


def test_every_score_has_its_own_divisor() -> None:
    scores = score_language_model(60.0, REPORT)
    assert (scores.tokens, scores.words) == (20, 10)
    assert scores.loss == 3.0
    assert scores.perplexity == pytest.approx(math.exp(3))
    assert scores.nats_per_character == 1.5
    assert scores.bits_per_byte == pytest.approx(60 / 50 / math.log(2))
    assert scores.word_perplexity == pytest.approx(math.exp(6))


def test_a_model_that_knows_nothing_has_no_finite_perplexity() -> None:
    assert score_language_model(1e9, REPORT).perplexity == math.inf
