"""Scores from what each line counts for: those of the whole split, and of any sample of its lines."""

import numpy as np
import pytest

from clearhead.evaluate.classification import score_classification, score_regression
from clearhead.evaluate.paired import compared
from clearhead.evaluate.predicted import OF_CONFUSION, OF_NUMBERS, ClassScore, NumberScore

CLASSES = ["a", "b", "c"]


def drawn(lines: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities and labels."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(3), lines), rng.integers(0, 3, lines)


@pytest.mark.parametrize("name", ["loss", *OF_CONFUSION])
def test_a_sample_of_classes_has_the_score_of_its_lines(name: str) -> None:
    probabilities, labels = drawn(60, seed=1)
    metric, counts = ClassScore(name, CLASSES), ClassScore.counts(probabilities, labels)
    for rows in (np.arange(60), np.array([3, 3, 7, 20, 59]), np.array([4])):
        expected = score_classification(probabilities[rows], labels[rows], classes=CLASSES)
        assert metric.score(counts[rows]) == pytest.approx(expected.nll if name == "loss" else getattr(expected, name))


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_a_sample_of_numbers_has_the_score_of_its_lines(name: str) -> None:
    rng = np.random.default_rng(0)
    counts = rng.normal(size=(50, 2)).round(1)
    for rows in (np.arange(50), rng.integers(0, 50, 30)):
        expected = score_regression(counts[rows, 1], counts[rows, 0])
        assert NumberScore(name).score(counts[rows]) == pytest.approx(getattr(expected, name))


def test_a_model_that_is_right_more_often_is_surely_better() -> None:
    probabilities, labels = drawn(400, seed=2)
    better = np.where(np.arange(400)[:, None] % 2 == 0, np.eye(3)[labels] * 0.8 + 0.2 / 3, probabilities)
    first, other = (ClassScore.counts(each, labels) for each in (probabilities, better))
    found = compared(ClassScore("accuracy", CLASSES), first, other)
    assert found.difference == pytest.approx((other[:, 0] == other[:, 1]).mean() - (first[:, 0] == first[:, 1]).mean())
    assert 0 < found.interval[0] < found.difference < found.interval[1]
    assert found.p < 0.01


def test_scores_are_alike_where_their_lines_count_the_same() -> None:
    accuracy = ClassScore("accuracy", CLASSES)
    assert accuracy.is_like(ClassScore("accuracy", CLASSES))
    assert not accuracy.is_like(ClassScore("matthews", CLASSES))
    assert not accuracy.is_like(ClassScore("accuracy", ["a", "b", "d"]))
    assert not accuracy.is_like(NumberScore("mse"))
