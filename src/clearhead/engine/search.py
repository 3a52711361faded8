"""Greedy and beam search as one call of the native library; the rules that it knows, and what it finds; no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import Found, Search, check, library
from clearhead.engine.rows import NativeModel
from clearhead.text.characters import Characters


@dataclass(frozen=True)
class NativeSearch:
    """How sources are translated; the meaning of each field is that of ``decode.search.SearchConfig``."""

    bos_id: int
    eos_id: int
    beam: int = 1
    length_penalty: float = 1.0
    forbidden: Sequence[int] = ()
    """Pieces that never come."""
    at_least: int = 0
    """The end mark does not come before so many pieces."""
    prefixes: Sequence[Sequence[int]] = field(default=())
    """What each translation begins with; empty: none does."""
    characters: Characters | None = None
    """Which pieces may follow, so that characters are whole; None where every piece is of whole ones."""


@dataclass(frozen=True)
class NativeHypothesis:
    """The best translation of a source."""

    ids: list[int]
    """Pieces without the end mark."""
    log_probs: list[float]
    """Of each piece, and of the end mark where ``complete``."""
    complete: bool
    cut_better: bool


def translate(
    model: NativeModel,
    sources: Sequence[Sequence[int]],
    search: NativeSearch,
    *,
    limits: Sequence[int],
    threads: int = 1,
) -> list[NativeHypothesis | None]:
    """Returns the best hypothesis of each source; None where no piece was left to choose.

    Args:
        model: an encoder-decoder.
        sources: one piece or more each.
        search: how to search.
        limits: most pieces of each translation, end mark included.
        threads: sources are dealt out among so many.

    Raises:
        ModelError: pieces are not in the vocabulary, a text is longer than the model's positions, or logits are NaN.
    """
    if not sources:
        return []
    stride, count = max(1, *limits), len(sources)
    ids, log_probs = np.zeros((count, stride), dtype=np.int32), np.zeros((count, stride), dtype=np.float32)
    lengths, complete, cut_better = (np.zeros(count, dtype=np.int32) for _ in range(3))
    found = Found(stride, *(array.ctypes.data for array in (ids, log_probs, lengths, complete, cut_better)))
    arrays = [_ints(search.forbidden), _ints(limits), _flat(search.prefixes), _ints([*map(len, search.prefixes)])]
    asked = Search(search.beam, search.bos_id, search.eos_id, search.at_least, len(search.forbidden))
    asked.length_penalty = search.length_penalty
    asked.forbidden, asked.limits = arrays[0].ctypes.data, arrays[1].ctypes.data
    if search.prefixes:
        asked.prefixes, asked.prefix_lengths = arrays[2].ctypes.data, arrays[3].ctypes.data
    if search.characters is not None:
        never_first = _tell(asked, search.characters, model.vocab)
        asked.never_first, asked.never_first_count = never_first.ctypes.data, len(never_first)
    pieces, sizes = _flat(sources), _ints([*map(len, sources)])
    where = (model.image.model, model.kernels.encode(), threads, pieces.ctypes.data, sizes.ctypes.data, count)
    check(library().ch_translate(*where, asked, found))
    return [
        None
        if size < 0
        else NativeHypothesis(row[:size].tolist(), scores[: size + whole].tolist(), bool(whole), bool(cut))
        for row, scores, size, whole, cut in zip(
            ids, log_probs, lengths.tolist(), complete.tolist(), cut_better.tolist(), strict=True
        )
    ]


def _tell(asked: Search, characters: Characters, vocab: int) -> NDArray[np.int32]:
    """Points to the tables of ``characters``, and returns the pieces that may not follow a whole one."""
    after, allowed = characters.after, characters.allowed
    if after.shape[1] != vocab or allowed.shape[1:] != after.shape:
        raise ValueError(f"characters of {after.shape[1]} pieces: must be those of the model's {vocab}")
    assert after.flags.c_contiguous
    assert allowed.flags.c_contiguous
    asked.after, asked.allowed = after.ctypes.data, allowed.ctypes.data
    asked.states, asked.rooms = len(after), len(allowed)
    return np.flatnonzero(~allowed[-1, 0]).astype(np.int32)


def _ints(values: Sequence[int]) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)


def _flat(rows: Sequence[Sequence[int]]) -> NDArray[Any]:
    return _ints([piece for row in rows for piece in row])
