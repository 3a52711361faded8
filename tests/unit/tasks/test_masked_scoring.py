"""Scores of a BERT on a split: what the run's own evaluation says, whatever the batches, checked against plain sums."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from clearhead.data.loading import load
from clearhead.errors import UsageError
from clearhead.tasks.language_scoring import split_documents
from clearhead.tasks.masked import encode
from clearhead.tasks.masked_model import MaskedModel
from clearhead.tasks.masked_scoring import evaluate_masked, score_batches
from clearhead.train.writers import read_metrics


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


def test_scores_are_sums_over_all_rows(model: MaskedModel, toy_masked_run: Path) -> None:
    documents = split_documents(toy_masked_run.parent / "data", "valid", model.recipe.data)
    text = encode(documents, model.tokenizer, model.recipe)
    found = score_batches(model.model, text.evaluation(batch_tokens=100), model.device)
    loss, hits, nsp, right = 0.0, 0, 0.0, 0
    for batch in load(text.evaluation(batch_tokens=2000)):
        assert batch.next_labels is not None
        at = torch.zeros(batch.ids.numel(), dtype=torch.bool).index_fill_(0, batch.positions, True).view_as(batch.ids)
        with torch.inference_mode():
            logits = model.model(batch.ids, mask=batch.mask, segments=batch.segments, at=at)
        assert logits.nsp is not None
        loss += float(functional.cross_entropy(logits.mlm, batch.targets, reduction="sum"))
        hits += int((logits.mlm.argmax(1) == batch.targets).sum())
        says_follows = logits.nsp[:, 0] > logits.nsp[:, 1]
        right += int((says_follows == batch.next_labels.bool()).sum())
        shares = logits.nsp.softmax(1)
        nsp -= float(torch.where(batch.next_labels.bool(), shares[:, 0], shares[:, 1]).log().sum())
    assert (found.pieces, found.pairs) == (
        sum(batch.target_count for batch in load(text.evaluation(batch_tokens=500))),
        len(text.evaluation(batch_tokens=500).pairs),
    )
    assert found.loss == pytest.approx(loss / found.pieces, rel=1e-5)
    assert found.mlm_accuracy == hits / found.pieces
    assert found.nsp_loss == pytest.approx(nsp / found.pairs, rel=1e-4)
    assert found.nsp_accuracy == right / found.pairs


def test_a_split_by_another_name(model: MaskedModel, toy_masked_run: Path) -> None:
    with pytest.raises(UsageError, match="--split 'tset': must be one of train, valid, test"):
        evaluate_masked(model, toy_masked_run.parent / "data", "tset")
