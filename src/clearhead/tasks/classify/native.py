"""The predictions of a classifier by the native engine; no torch."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clearhead.data.labels.labels import Labels
from clearhead.data.segments import EncodedTexts, lay_out
from clearhead.engine.loops.texts import encode, logits, portions
from clearhead.engine.rows import NativeModel
from clearhead.text.special import SpecialIds

Predicted = NDArray[np.float64]
"""[rows, classes], the probability of each class; or [rows, 1], the number."""


def predict_natively(
    model: NativeModel,
    rows: EncodedTexts,
    labels: Labels,
    special: SpecialIds,
    *,
    pooling: Literal["first", "mean"],
    threads: int,
) -> Predicted:
    """Returns for each row the probability of each class, or the number; see ``predict``."""
    predicted = np.zeros((len(rows), len(labels.classes) or 1))
    for numbers in portions(rows.lengths.tolist()):
        laid = lay_out(rows.ids, rows.spans[numbers], special=special, pair=rows.pair)
        ids, segments, lengths = laid.unpadded()
        states = encode(model, ids, lengths, segments, threads=threads)
        predicted[numbers] = values_of(logits(model, states.pooled(pooling), threads=threads), labels)
    return predicted


def values_of(out: NDArray[np.float32], labels: Labels) -> Predicted:
    """Returns the probabilities of the classes, or the numbers, that the outputs of a model stand for."""
    exact = out.astype(np.float64)
    if not labels.classes:
        return exact * labels.deviation + labels.mean
    with np.errstate(invalid="ignore"):  # of outputs that are not finite, as in PyTorch
        shares = np.exp(exact - exact.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)
