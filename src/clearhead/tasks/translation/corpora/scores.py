"""How well a translator expects each pair of lines of a corpus: what tells bad pairs from good ones."""

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from torch import Tensor

from clearhead.data.batching import sequential_batches
from clearhead.data.corpora.joined import EncodedCorpus, EncodedPairs, JoinedPairs
from clearhead.data.corpora.mixture import ParallelCorpus
from clearhead.data.loading import load
from clearhead.data.store import PairStore
from clearhead.data.translation import Batch, BatchDataset
from clearhead.progress import Progress, silent
from clearhead.tasks.translation.recipe import Net
from clearhead.tasks.translation.translator import Translator

LineScores = Float64[ndarray, " lines"]


def line_scores(translator: Translator, store: PairStore, lines: int, progress: Progress = silent) -> LineScores:
    """Returns the mean log-probability of a target piece, end marks included, for each line of a corpus, in nats.

    A line that the store has in several parts has the mean over all of its pieces; one that it has not is -inf.

    Args:
        translator: in the direction of the corpus.
        store: its pairs, encoded for this translator.
        lines: of the corpus.
        progress: called with (pairs done, pairs in all).
    """
    pairs = _led(translator, store)
    sums, counts, done = np.zeros(lines), np.zeros(lines), 0
    plan = sequential_batches(*pairs.lengths, batch_tokens=translator.recipe.train.batch_tokens)
    for batch in load(BatchDataset(pairs, plan)):
        rows = batch.indices.numpy()
        at = store.line_numbers[rows] - 1
        np.add.at(sums, at, _log_probs(translator.model, batch.to(translator.device)).double().cpu().numpy())
        np.add.at(counts, at, store.lengths[1][rows] + 1)
        done += len(rows)
        progress(done, len(store))
    scores: LineScores = np.full(lines, -np.inf)
    np.divide(sums, counts, out=scores, where=counts > 0)
    return scores


def dual_scores(forward: LineScores, backward: LineScores) -> LineScores:
    """Joins the scores of two directions: the higher the better, and lower where the two disagree.

    It is minus the dual conditional cross-entropy, |f - b| + (f + b) / 2 of the two cross-entropies
    (Junczys-Dowmunt 2018, arXiv:1809.00197, equation 2).
    """
    known = np.isfinite(forward) & np.isfinite(backward)
    joined = np.full(len(forward), -np.inf)
    one, other = forward[known], backward[known]
    joined[known] = (one + other) / 2 - np.abs(one - other)
    return joined


def _led(translator: Translator, store: PairStore) -> EncodedPairs:
    """Returns pairs behind the tag of the translator's direction, if it has one."""
    lead = tuple(translator.sides.lead)
    return JoinedPairs([EncodedCorpus(ParallelCorpus(), store, lead)]) if lead else store


@torch.inference_mode()
def _log_probs(model: Net, batch: Batch) -> Tensor:
    """Returns the log-probability of the target of each pair, [batch]."""
    real = batch.targets.ne(model.pad_id)
    tgt_mask = real if model.needs_tgt_mask else None
    logits = model(batch.src_ids, batch.tgt_ids, src_mask=batch.src_mask, tgt_mask=tgt_mask)
    chosen = logits.gather(2, batch.targets[:, :, None])[:, :, 0] - logits.logsumexp(dim=2)  # batch seq
    return chosen.masked_fill(~real, 0.0).sum(dim=1)
