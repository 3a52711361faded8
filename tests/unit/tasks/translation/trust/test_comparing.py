"""Translators side by side: what lines count for has the scores that ``evaluate`` gives, of each direction too."""

from pathlib import Path

import pytest

from clearhead.tasks.translation.scoring import MixtureEvaluation, evaluate_directions, evaluate_translator
from clearhead.tasks.translation.translator import Translator
from clearhead.tasks.translation.trust.comparing import compare_translator


def test_one_direction(toy_run: Path, toy_data: Path) -> None:
    translator = Translator.load(toy_run, device="cpu")
    found = compare_translator(translator, toy_data, "test", beam=1)
    expected = evaluate_translator(translator, toy_data, "test", beam=1).scores
    assert (found.scores["BLEU"], found.scores["chrF2"]) == (expected.bleu, expected.chrf)
    assert {name: metric.score(counts) for name, (metric, counts) in found.counts.items()} == pytest.approx(
        {"BLEU": expected.bleu, "chrF2": expected.chrf}
    )


def test_each_direction_counts_lines_of_its_own(two_ways: Path) -> None:
    translator = Translator.load(two_ways / "run", device="cpu")
    found = compare_translator(translator, two_ways, "train", beam=1)
    expected = evaluate_directions(translator, two_ways, "train", beam=1, length_penalty=1.0, tokenize=None)
    assert isinstance(expected, MixtureEvaluation)
    assert found.scores["BLEU"] == expected.bleu
    assert list(found.counts) == ["BLEU, one", "BLEU, other"]
    for label, one in expected.each.items():
        metric, counts = found.counts[f"BLEU, {label}"]
        assert found.scores[f"BLEU, {label}"] == one.scores.bleu == pytest.approx(metric.score(counts))
        assert len(counts) == one.sentences
