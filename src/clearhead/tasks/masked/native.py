"""What a masked language model says of texts by the native engine; no torch."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from clearhead.engine.loops.texts import States, encode, logits, portions
from clearhead.engine.rows import Ints, NativeModel
from clearhead.text.special import SpecialIds

Rows = Sequence[Sequence[int] | None]
"""Texts as ids without marks; None is no text."""


def mask_logits(
    model: NativeModel, rows: Rows, special: SpecialIds, *, threads: int
) -> Iterator[tuple[list[int], Float[ndarray, "masks vocab"], list[int]]]:
    """Yields the numbers of rows, the logits at their masks in order, and how many masks each row has."""
    for numbers, ids, states in _read(model, rows, special, threads):
        hidden = ids == special.mask
        counts = np.add.reduceat(hidden.astype(np.int32), states.starts)
        yield numbers, logits(model, states.packed[hidden], threads=threads), counts.tolist()


def text_vectors(
    model: NativeModel,
    rows: Rows,
    special: SpecialIds,
    *,
    pooling: Literal["mean", "first", "max"],
    normalize: bool,
    threads: int,
) -> Iterator[tuple[list[int], Float[ndarray, "texts d_model"]]]:
    """Yields the numbers of rows, and the vector of each; see ``States.vectors``."""
    for numbers, _, states in _read(model, rows, special, threads):
        yield numbers, states.vectors(pooling, normalize=normalize)


def _read(
    model: NativeModel, rows: Rows, special: SpecialIds, threads: int
) -> Iterator[tuple[list[int], Ints, States]]:
    """Yields the numbers of rows of like length, their ids with marks, one after another, and the states of these."""
    given = [(number, row) for number, row in enumerate(rows) if row is not None]
    for portion in portions([len(row) + 2 for _, row in given]):
        chosen = [given[at] for at in portion]
        ids = np.array([i for _, row in chosen for i in (special.cls, *row, special.sep)], dtype=np.int32)
        lengths = np.array([len(row) + 2 for _, row in chosen], dtype=np.int32)
        yield [number for number, _ in chosen], ids, encode(model, ids, lengths, threads=threads)
