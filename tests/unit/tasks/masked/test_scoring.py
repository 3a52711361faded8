"""Scores of a BERT on a split: what the run's own evaluation says, whatever the batches, checked against plain sums."""

import math
from pathlib import Path

import pytest

from clearhead.errors import UsageError
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.scoring import evaluate_masked
from clearhead.training.writers import read_metrics


@pytest.fixture(scope="module")
def model(toy_masked_run: Path) -> MaskedModel:
    return MaskedModel.load(toy_masked_run)


def test_a_split_has_the_scores_of_training(model: MaskedModel, toy_masked_run: Path) -> None:
    found = evaluate_masked(model, toy_masked_run.parent / "data", "valid")
    trained = [one["scores"] for one in read_metrics(toy_masked_run / "metrics.jsonl") if one["event"] == "evaluated"]
    assert found.scores.as_dict()
    for name, value in found.scores.as_dict().items():
        assert trained[-1][name] == pytest.approx(value, rel=1e-5)
    assert found.scores.pseudo_perplexity == pytest.approx(math.exp(found.scores.loss))
    assert found.positions_per_second > 0


def test_a_split_by_another_name(model: MaskedModel, toy_masked_run: Path) -> None:
    with pytest.raises(UsageError, match="--split 'tset': must be one of train, valid, test"):
        evaluate_masked(model, toy_masked_run.parent / "data", "tset")
