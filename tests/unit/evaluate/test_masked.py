"""Scores of masked language models."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from clearhead.data.documents import split_documents
from clearhead.data.loading import load
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.recipe import encode
from clearhead.tasks.masked.scoring import score_batches


@pytest.fixture(scope="module")
def model(toy_masked_run: Path) -> MaskedModel:
    return MaskedModel.load(toy_masked_run)


def test_scores_are_sums_over_all_rows(model: MaskedModel, toy_masked_run: Path) -> None:
    documents = split_documents(toy_masked_run.parent / "data", "valid", model.recipe.data)
    text = encode(documents, model.tokenizer, model.recipe)
    result = score_batches(model.model, text.evaluation(batch_tokens=100), model.device)
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
    assert (result.pieces, result.pairs) == (
        sum(batch.target_count for batch in load(text.evaluation(batch_tokens=500))),
        len(text.evaluation(batch_tokens=500).pairs),
    )
    assert result.loss == pytest.approx(loss / result.pieces, rel=1e-5)
    assert result.mlm_accuracy == hits / result.pieces
    assert result.nsp_loss == pytest.approx(nsp / result.pairs, rel=1e-4)
    assert result.nsp_accuracy == right / result.pairs
