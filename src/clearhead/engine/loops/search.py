"""Greedy and beam search as one call of the native library; the rules that it knows, and what it finds; no torch."""

import ctypes
import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import Drawing, Found, Search, TextOf, check, library
from clearhead.engine.loops.sampler import SamplerSettings, drawing_of, tell_characters
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
    n_best: int = 1


@dataclass(frozen=True)
class NativeHypothesis:
    """A translation of a source."""

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
    text_of: Callable[[list[int]], Hashable] | None = None,
) -> list[list[NativeHypothesis]]:
    """Returns the ``n_best`` hypotheses of each source or fewer, best first; none where no piece was left to choose.

    Args:
        model: an encoder-decoder.
        sources: one piece or more each.
        search: how to search.
        limits: most pieces of each translation, end mark included.
        threads: sources are dealt out among so many.
        text_of: by what two hypotheses of a source differ, if several are returned; None: by their pieces.

    Raises:
        ModelError: pieces are not in the vocabulary, a text is longer than the model's positions, or logits are NaN.
    """
    if not sources:
        return []
    return _searched(model, sources, search, limits, threads, text_of)


def continue_prompts(
    model: NativeModel,
    prompts: Sequence[Sequence[int]],
    search: NativeSearch,
    settings: SamplerSettings,
    *,
    limits: Sequence[int],
    threads: int = 1,
    text_of: Callable[[list[int]], Hashable] | None = None,
) -> list[list[NativeHypothesis]]:
    """Returns the ``n_best`` texts that follow each prompt or fewer, best first.

    Args:
        model: a decoder-only model.
        prompts: one piece or more each; windows slide as in ``Texts``.
        search: how to search; it has no begin mark, prefixes or bans of its own.
        settings: the penalties and bans of sampling, which go for a search too.
        limits: most pieces of each text, end mark included.
        threads: prompts are dealt out among so many.
        text_of: see ``translate``.

    Raises:
        ModelError: pieces are not in the vocabulary, logits are NaN, or no piece is left.
    """
    if not prompts:
        return []
    return _searched(model, prompts, search, limits, threads, text_of, drawing_of(settings, model.vocab))


def _searched(
    model: NativeModel,
    sources: Sequence[Sequence[int]],
    search: NativeSearch,
    limits: Sequence[int],
    threads: int,
    text_of: Callable[[list[int]], Hashable] | None,
    drawing: tuple[Drawing, list[NDArray[Any]]] | None = None,
) -> list[list[NativeHypothesis]]:
    numbers, found = _Numbers(text_of), _Results(len(sources), search.n_best, max(1, *limits))
    arrays: list[NDArray[Any]] = [
        _ints(search.forbidden),
        _ints(limits),
        _flat(search.prefixes),
        _ints([*map(len, search.prefixes)]),
    ]
    asked = Search(search.beam, search.n_best, search.bos_id, search.eos_id, search.at_least, len(search.forbidden))
    asked.length_penalty, asked.text_of = search.length_penalty, numbers.callback
    asked.forbidden, asked.limits = arrays[0].ctypes.data, arrays[1].ctypes.data
    if search.prefixes:
        asked.prefixes, asked.prefix_lengths = arrays[2].ctypes.data, arrays[3].ctypes.data
    if drawing is not None:
        asked.drawing = ctypes.pointer(drawing[0])
    if search.characters is not None:
        arrays += tell_characters(asked, search.characters, model.vocab)
    pieces, sizes = _flat(sources), _ints([*map(len, sources)])
    where = (model.image.model, model.kernels.encode(), threads, pieces.ctypes.data, sizes.ctypes.data, len(sources))
    numbers.check(library().ch_translate(*where, asked, found.told))
    return found.hypotheses()


class _Numbers:
    """Numbers of texts for the library: equal ones for equal texts."""

    def __init__(self, text_of: Callable[[list[int]], Hashable] | None) -> None:
        self._text_of, self._numbers, self._next = text_of, dict[Hashable, int](), itertools.count()
        self._error: BaseException | None = None
        self.callback = TextOf() if text_of is None else TextOf(self._number)

    def _number(self, ids: Any, length: int) -> int:
        assert self._text_of is not None
        try:
            return self._numbers.setdefault(self._text_of(ids[:length]), next(self._next))
        except BaseException as error:  # which must not be lost in the library
            self._error = error
            return -1

    def check(self, status: int) -> None:
        """Raises what ``text_of`` raised, or as ``library.check`` does."""
        if self._error is not None:
            raise self._error
        check(status)


class _Results:
    """Room for the hypotheses of all sources."""

    def __init__(self, sources: int, n_best: int, stride: int) -> None:
        shape = sources, n_best
        self.ids, self.log_probs = np.zeros((*shape, stride), np.int32), np.zeros((*shape, stride), np.float32)
        self.lengths, self.complete, self.cut_better = (np.zeros(shape, np.int32) for _ in range(3))
        arrays = self.ids, self.log_probs, self.lengths, self.complete, self.cut_better
        self.told = Found(stride, *(array.ctypes.data for array in arrays))

    def hypotheses(self) -> list[list[NativeHypothesis]]:
        """Returns what the library has written."""
        sizes, complete, cut = (each.tolist() for each in (self.lengths, self.complete, self.cut_better))
        return [
            [
                NativeHypothesis(
                    self.ids[source, rank, :size].tolist(),
                    self.log_probs[source, rank, : size + complete[source][rank]].tolist(),
                    bool(complete[source][rank]),
                    bool(cut[source][rank]),
                )
                for rank, size in enumerate(row)
                if size >= 0
            ]
            for source, row in enumerate(sizes)
        ]


def _ints(values: Sequence[int]) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)


def _flat(rows: Sequence[Sequence[int]]) -> NDArray[Any]:
    return _ints([piece for row in rows for piece in row])
