"""Texts through a native encoder: states of all their pieces, a vector of each, and what its head says; no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import check, library
from clearhead.engine.rows import Ints, NativeModel
from clearhead.engine.weights.packing import Floats

PIECES = 4096
"""Of the texts whose states are in memory at once; see ``portions``."""
Pooling = Literal["mean", "first", "max"]
LEAST_NORM = np.float32(1e-12)  # as torch.nn.functional.normalize


@dataclass(frozen=True)
class States:
    """Final states of texts that stand one after another, without padding."""

    packed: Floats
    """[pieces, features], with the features' padding."""
    lengths: Ints
    """[texts]."""
    d_model: int
    """Features without padding."""

    @property
    def starts(self) -> Ints:
        """The place of each text's first state."""
        return np.cumsum(self.lengths, dtype=np.int32) - self.lengths

    def vectors(self, pooling: Pooling, *, normalize: bool = False) -> Floats:
        """Returns [texts, d_model]; see ``models.embedding.EmbeddingConfig``."""
        vectors = self.pooled(pooling)[:, : self.d_model]
        if not normalize:
            return vectors
        sizes = np.sqrt(np.einsum("td,td->t", vectors, vectors, dtype=np.float32))
        return vectors / np.maximum(sizes, LEAST_NORM)[:, None]

    def pooled(self, pooling: Pooling) -> Floats:
        """Returns [texts, features], with the features' padding: what a head takes."""
        match pooling:
            case "mean":
                sums = np.add.reduceat(self.packed, self.starts, dtype=np.float32)
                return np.divide(sums, self.lengths[:, None], dtype=np.float32)
            case "first":
                return self.packed[self.starts]
            case "max":
                return np.maximum.reduceat(self.packed, self.starts)


def portions(lengths: Sequence[int], most: int = PIECES) -> Iterator[list[int]]:
    """Yields numbers of texts, longest first, ``most`` pieces at a time or one text."""
    portion, inside = list[int](), 0
    for number in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        if portion and inside + lengths[number] > most:
            yield portion
            portion, inside = [], 0
        portion.append(number)
        inside += lengths[number]
    if portion:
        yield portion


def encode(model: NativeModel, ids: Ints, lengths: Ints, segments: Ints | None = None, *, threads: int = 1) -> States:
    """Returns the states of texts, which know nothing of each other.

    Args:
        model: an encoder without a decoder.
        ids: of all texts, one after another.
        lengths: [texts], one piece or more each.
        segments: the segment of each piece; None: all are of segment 0.
        threads: texts are dealt out among so many.

    Raises:
        ModelError: pieces or segments are not in the model's tables, or a text is longer than its positions.
    """
    if int(lengths.sum()) != len(ids) or (segments is not None and len(segments) != len(ids)):
        raise ValueError(f"{len(ids)} pieces: must be {int(lengths.sum())}, the sum of lengths, with a segment each")
    states = np.empty((len(ids), model.image.width), dtype=np.float32)
    where = model.image.model, model.kernels.encode(), threads
    numbers = _at(ids), None if segments is None else _at(segments), _at(lengths)
    check(library().ch_encode_texts(*where, *numbers, len(lengths), _at(states)))
    return States(states, lengths, int(model.image.model.d_model))


def logits(model: NativeModel, states: Floats, *, threads: int = 1) -> Floats:
    """Returns what the model's head says of states: logits [rows, pieces], or [rows, labels].

    Args:
        model: an encoder without a decoder.
        states: [rows, features], with the features' padding; for a classifier of whole texts such as ``pooled`` gives.
        threads: rows are dealt out among so many.
    """
    states = np.ascontiguousarray(states)
    found = np.empty((len(states), model.image.logits), dtype=np.float32)
    check(
        library().ch_head_logits(
            model.image.model, model.kernels.encode(), threads, _at(states), len(states), _at(found)
        )
    )
    return found[:, : model.vocab]


def _at(array: NDArray[Any]) -> int:
    """The address of a contiguous array, which its caller keeps alive meanwhile."""
    assert array.flags.c_contiguous
    assert array.dtype in (np.int32, np.float32)
    return int(array.ctypes.data)
