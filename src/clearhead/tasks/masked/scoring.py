"""Scores of a masked language model: loss and accuracy on a fixed choice of masked pieces, and on sentence pairs."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from clearhead.data.documents import split_documents
from clearhead.data.loading import load
from clearhead.data.masked import MaskedBatches
from clearhead.data.segments import marks
from clearhead.errors import DataError
from clearhead.evaluate.masked import MaskedScores
from clearhead.evaluate.paired import Perplexity
from clearhead.export.runtime import Row
from clearhead.models.bert import BertPretraining
from clearhead.runs.cache import scored_folder
from clearhead.tasks.evidence import ROOM, Evidence, first_lines, random_ids
from clearhead.tasks.family import ComparedScores, Evaluation
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.recipe import encode, nsp_targets
from clearhead.text.special import ABSENT, NO_TARGET

HIDE_EVERY = 7  # pieces of a line, of which one is masked: about the share of training
LOGITS = 512  # masked positions whose logits are in memory at once


@dataclass(frozen=True)
class MaskedEvaluation(Evaluation):
    """All scores of one split."""

    split: str
    scores: MaskedScores
    positions_per_second: float
    """Pieces and marks that the model reads in a second."""

    def lines(self, step: int) -> list[str]:
        """See ``Evaluation``."""
        scores = self.scores
        lines = [
            f"{self.split}: {scores.pieces:,} masked pieces, {scores.pairs:,} pairs, step {step:,}",
            f"loss               {scores.loss:8.4f}   nats per masked piece",
            f"pseudo-perplexity  {scores.pseudo_perplexity:8.2f}   per masked piece",
            f"MLM accuracy       {scores.mlm_accuracy:8.2%}   of the masked pieces",
        ]
        if scores.nsp_accuracy is not None:
            lines.append(
                f"NSP accuracy       {scores.nsp_accuracy:8.2%}   of the pairs, at {scores.nsp_loss:.4f} nats each"
            )
        return [*lines, f"speed              {self.positions_per_second:8.0f}   pieces and marks per second"]

    def as_dict(self) -> dict[str, Any]:
        """See ``Evaluation``."""
        tree = asdict(self)
        scores = {**tree.pop("scores"), "pseudo_perplexity": self.scores.pseudo_perplexity}
        return {**tree, **scores}


@torch.inference_mode()
def score_batches(model: BertPretraining, batches: MaskedBatches, device: torch.device) -> MaskedScores:
    """Scores batches, each row once."""
    loss, right_pieces, pieces, nsp_loss, right_pairs, pairs = 0.0, 0, 0, 0.0, 0, 0
    for loaded in load(batches):
        batch = loaded.to(device)
        states = model.bert(batch.ids, mask=batch.mask, segments=batch.segments)
        rows = states.flatten(0, 1).index_select(0, batch.positions)
        for few, targets in zip(rows.split(LOGITS), batch.targets.split(LOGITS), strict=True):
            logits = model.mlm_head(few).float()
            loss += float(functional.cross_entropy(logits, targets, reduction="sum"))
            right_pieces += int((logits.argmax(dim=1) == targets).sum())
        pieces += batch.target_count
        if model.nsp_head is not None:
            logits, labels = model.nsp_head(model.bert.pooler(states, batch.mask)).float(), nsp_targets(batch)
            nsp_loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            right_pairs += int((logits.argmax(dim=1) == labels).sum())
            pairs += len(labels)
    mean = (nsp_loss / pairs, right_pairs / pairs) if pairs else (None, None)
    return MaskedScores(pieces, loss / pieces, right_pieces / pieces, pairs, *mean)


def evaluate_masked(model: MaskedModel, data: Path, split: str) -> MaskedEvaluation:
    """Scores a split with the masks and pairs of the evaluations in training; they are the same at every call.

    Args:
        model: a loaded run.
        data: a text file or a folder of them.
        split: train, valid or test, as the recipe names them.

    Raises:
        DataError: the text cannot be used.
        UsageError: there is no such split.
    """
    documents = split_documents(data, split, model.recipe.data)
    text = encode(documents, model.tokenizer, model.recipe, cache_dir=scored_folder())
    batches = text.evaluation(batch_tokens=model.recipe.train.batch_tokens)
    started = time.perf_counter()
    scores = score_batches(model.model, batches, model.device)
    seconds = time.perf_counter() - started
    return MaskedEvaluation(split, scores, int(batches.pairs.lengths.sum()) / seconds)


def compare_masked(model: MaskedModel, data: Path, split: str) -> ComparedScores:
    """Computes the scores that runs are compared by; the pieces are those of each run's vocabulary."""
    scores = evaluate_masked(model, data, split).scores
    compared: dict[str, float | None] = {
        "MLM loss": scores.loss,
        "pseudo-perplexity": scores.pseudo_perplexity,
        "MLM accuracy": scores.mlm_accuracy,
        "NSP accuracy": scores.nsp_accuracy,
    }
    return ComparedScores(compared, None)


def masked_evidence(model: MaskedModel, data: Path | None, count: int, *, split: str = "valid") -> Evidence:
    """Returns lines of a split on which an exported model is compared; see ``LearnedFamily.evidence``.

    Of each line every seventh piece is masked.
    """
    tokenizer, special = model.tokenizer, model.tokenizer.ids
    room, texts = min(ROOM, model.recipe.model.max_seq_len - marks(pair=False)), list[str]()
    if data is not None:
        texts = first_lines(split_documents(data, split, model.recipe.data), count)
        ids = tokenizer.encode_batch(texts)
        if not any(ids):
            raise DataError(f"data {str(data)!r}: the {split} split has no line to compare on")
    else:
        ids = random_ids(tokenizer.vocab_size, len(special.never) + 1, room)
    rows, targets = list[Row](), list[list[int]]()
    for line in ids:
        kept = line[:room]
        hidden = (
            set(range(min(HIDE_EVERY // 2, len(kept) - 1), len(kept), HIDE_EVERY)) if special.mask != ABSENT else ()
        )
        shown = [special.mask if at in hidden else piece for at, piece in enumerate(kept)]
        rows.append(Row([special.cls, *shown, special.sep]))
        wanted = [piece if at in hidden else NO_TARGET for at, piece in enumerate(kept)]
        targets.append([NO_TARGET, *wanted, NO_TARGET])
    return Evidence(
        rows=rows,
        ends=[special.eos],
        never=[],
        metric=Perplexity() if texts and special.mask != ABSENT else None,
        targets=targets,
        texts=texts,
        ids=ids if texts else [],
    )
