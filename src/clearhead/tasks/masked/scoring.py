"""Scores of a masked language model: how well it finds pieces that are always the same ones, and tells pairs apart."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

from clearhead.data.documents import split_documents
from clearhead.data.loading import load
from clearhead.data.masked import MaskedBatches
from clearhead.evaluate.masked import MaskedScores
from clearhead.models.bert import BertPretraining
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.recipe import encode, nsp_targets

LOGITS = 512  # masked positions whose logits are there at once


@dataclass(frozen=True)
class MaskedEvaluation:
    """All scores of one split."""

    split: str
    scores: MaskedScores
    positions_per_second: float
    """Pieces and marks read."""


@torch.inference_mode()
def score_batches(model: BertPretraining, batches: MaskedBatches, device: torch.device) -> MaskedScores:
    """Scores batches, each row once."""
    loss, found, pieces, nsp_loss, told, pairs = 0.0, 0, 0, 0.0, 0, 0
    for one in load(batches):
        batch = one.to(device)
        states = model.bert(batch.ids, mask=batch.mask, segments=batch.segments)
        rows = states.flatten(0, 1).index_select(0, batch.positions)
        for few, targets in zip(rows.split(LOGITS), batch.targets.split(LOGITS), strict=True):
            logits = model.mlm_head(few).float()
            loss += float(functional.cross_entropy(logits, targets, reduction="sum"))
            found += int((logits.argmax(dim=1) == targets).sum())
        pieces += batch.target_count
        if model.nsp_head is not None:
            logits, right = model.nsp_head(model.bert.pooler(states, batch.mask)).float(), nsp_targets(batch)
            nsp_loss += float(functional.cross_entropy(logits, right, reduction="sum"))
            told += int((logits.argmax(dim=1) == right).sum())
            pairs += len(right)
    mean = (nsp_loss / pairs, told / pairs) if pairs else (None, None)
    return MaskedScores(pieces, loss / pieces, found / pieces, pairs, *mean)


def evaluate_masked(model: MaskedModel, data: Path, split: str) -> MaskedEvaluation:
    """Scores a split by the pieces and pairs that the run's own evaluation has, the same ones at every call.

    Args:
        model: a loaded run.
        data: a text file or a folder of them.
        split: train, valid or test, as the recipe names them.

    Raises:
        DataError: the text cannot be used.
        UsageError: there is no such split.
    """
    text = encode(split_documents(data, split, model.recipe.data), model.tokenizer, model.recipe)
    batches = text.evaluation(batch_tokens=model.recipe.train.batch_tokens)
    started = time.perf_counter()
    scores = score_batches(model.model, batches, model.device)
    seconds = time.perf_counter() - started
    return MaskedEvaluation(split, scores, int(batches.pairs.lengths.sum()) / seconds)
