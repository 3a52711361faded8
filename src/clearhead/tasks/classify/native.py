"""The predictions of a classifier by the native engine."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from clearhead.data.labels.labelled_batches import LabelledRows
from clearhead.data.labels.labels import Labels
from clearhead.data.segments import lay_out
from clearhead.engine.loops.texts import encode, logits, portions
from clearhead.engine.rows import NativeModel
from clearhead.tasks.classify.objective import values_of


def predict_natively(
    model: NativeModel, source: LabelledRows, labels: Labels, *, pooling: Literal["first", "mean"]
) -> Float[ndarray, "rows columns"]:
    """Returns for each line the probability of each class, or the number; see ``predict``."""
    rows, threads = source.rows, torch.get_num_threads()
    predicted = np.zeros((len(rows), len(labels.classes) or 1))
    for numbers in portions(rows.lengths.tolist()):
        laid = lay_out(rows.ids, rows.spans[numbers], special=source.special, pair=rows.pair)
        ids, segments = (each[laid.mask].astype(np.int32) for each in (laid.ids, laid.segments))
        lengths = laid.mask.sum(axis=1, dtype=np.int32)
        states = encode(model, ids, lengths, segments, threads=threads)
        out = logits(model, states.pooled(pooling), threads=threads)
        predicted[numbers] = values_of(torch.from_numpy(out), labels).numpy()
    return predicted
