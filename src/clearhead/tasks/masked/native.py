"""What a masked language model says of texts by the native engine; no torch."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from clearhead.data.segments import collate_segments, marks
from clearhead.engine.loops.texts import States, encode, logits, portions
from clearhead.engine.rows import Ints, NativeModel
from clearhead.engine.weights.packing import Floats
from clearhead.models.embedding import EmbeddingConfig
from clearhead.text.special import SpecialIds

Rows = Sequence[Sequence[int] | None]
"""Texts as ids without marks; None is no text."""
Ranked = list[list[tuple[int, float]]]
"""The best pieces at each mask and their probabilities, best first."""


def mask_logits(
    model: NativeModel, rows: Rows, special: SpecialIds, *, threads: int
) -> Iterator[tuple[list[int], Floats, list[int]]]:
    """Yields the numbers of rows, the logits [masks, vocab] at their masks in order, and how many each row has."""
    for numbers, ids, states in _read(model, rows, special, threads):
        hidden = ids == special.mask
        counts = np.add.reduceat(hidden.astype(np.int32), states.starts)
        yield numbers, logits(model, states.packed[hidden], threads=threads), counts.tolist()


def ranked(logits: Floats, count: int, never: NDArray[np.int64]) -> Ranked:
    """Returns the ``count`` most probable pieces of each row, of equal ones the lower ids.

    Args:
        logits: [masks, vocab].
        count: at most the pieces that are not in ``never``.
        never: pieces that count for the probabilities of the others, but are not returned.
    """
    shares = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[:, never] = -1.0
    best = []
    for row in shares:
        likely = np.flatnonzero(row >= np.partition(row, -count)[-count])
        pieces = likely[np.argsort(-row[likely], kind="stable")][:count]
        best.append(list(zip(pieces.tolist(), row[pieces].tolist(), strict=True)))
    return best


def text_vectors(
    model: NativeModel,
    rows: Rows,
    special: SpecialIds,
    config: EmbeddingConfig,
    *,
    threads: int,
) -> Iterator[tuple[list[int], Floats]]:
    """Yields the numbers of rows, and the vector [d_model] of each; see ``States.vectors``."""
    for numbers, _, states in _read(model, rows, special, threads):
        yield numbers, states.vectors(config.pooling, normalize=config.normalize)


def _read(
    model: NativeModel, rows: Rows, special: SpecialIds, threads: int
) -> Iterator[tuple[list[int], Ints, States]]:
    """Yields the numbers of rows of like length, their ids with marks, one after another, and the states of these."""
    given = [(number, row) for number, row in enumerate(rows) if row is not None]
    for portion in portions([len(row) + marks(pair=False) for _, row in given]):
        numbers, chosen = zip(*(given[at] for at in portion), strict=True)
        ids, _, lengths = collate_segments(chosen, None, special=special).unpadded()
        yield list(numbers), ids, encode(model, ids, lengths, threads=threads)
