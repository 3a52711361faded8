"""Scores equal sacreBLEU's own, with a signature that says how they were made."""

import pytest
import sacrebleu

from clearhead.evaluate.translation import score_lines, score_translations

FOUND = ["the cat sat on the mat", "a dog", "I ate an apple . "]
EXPECTED = ["the cat sat on the mat", "the dog barked", "I ate an apple ."]


def test_scores_are_those_of_sacrebleu() -> None:
    scores = score_translations(FOUND, EXPECTED)
    assert scores.bleu == pytest.approx(sacrebleu.corpus_bleu(FOUND, [EXPECTED]).score)
    assert scores.chrf == pytest.approx(sacrebleu.corpus_chrf(FOUND, [EXPECTED]).score)
    assert scores.exact_match == pytest.approx(100 * 2 / 3)
    assert "tok:13a" in scores.bleu_signature
    assert f"version:{sacrebleu.__version__}" in scores.chrf_signature


def test_lines_are_scored_one_by_one() -> None:
    expected = [
        sacrebleu.sentence_chrf(text, [reference]).score for text, reference in zip(FOUND, EXPECTED, strict=True)
    ]
    assert score_lines(FOUND, EXPECTED) == pytest.approx(expected)


def test_chinese_is_scored_by_characters() -> None:
    found, expected = ["我吃了一个苹果。"], ["我吃了两个苹果。"]
    scores = score_translations(found, expected, tokenize="zh")
    assert scores.bleu == pytest.approx(sacrebleu.corpus_bleu(found, [expected], tokenize="zh").score)
    assert scores.bleu > score_translations(found, expected).bleu
    assert "tok:zh" in scores.bleu_signature


def test_the_best_and_the_worst() -> None:
    assert score_translations(EXPECTED, EXPECTED).bleu == pytest.approx(100)
    worst = score_translations(["x"], ["y z"], tokenize="none")
    assert (worst.bleu, worst.exact_match) == (0, 0)
    with pytest.raises(ValueError, match="zip"):
        score_translations(["a"], ["a", "b"])
