"""Greedy and beam search as one call of the native library; how it is told what to search for; no torch."""

import ctypes
import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import ASKED, Found, Search, TextOf, check, library
from clearhead.engine.loops.phrases import tell_phrases
from clearhead.engine.loops.sampler import SamplerSettings, drawing_of, tell_characters
from clearhead.engine.rows import NativeModel
from clearhead.text.characters import Characters
from clearhead.text.phrase_book import Demand

ReadAs = Callable[[list[int]], Hashable]
"""What a reader sees of pieces."""
Shortlists = Sequence[NDArray[np.int32]]
"""The pieces that may translate each source."""
UNREAD = "the text of a hypothesis could not be read"
"""What the library says where ``text_of`` raised."""


@dataclass(frozen=True)
class NativeSearch:
    """How a source is translated; the meaning of each field is that of ``decode.search.SearchConfig``."""

    bos_id: int
    eos_id: int
    beam: int = 1
    length_penalty: float = 1.0
    forbidden: Sequence[int] = ()
    """Pieces that never come."""
    at_least: int = 0
    """The end mark does not come before so many pieces."""
    characters: Characters | None = None
    """Which pieces may follow, so that characters are whole; None where every piece is of whole ones."""
    n_best: int = 1
    settings: SamplerSettings | None = None
    """Penalties and bans of sampling, which a search for what follows a prompt has too; None for translations."""


@dataclass(frozen=True)
class NativeHypothesis:
    """A translation of a source."""

    ids: list[int]
    """Pieces without the end mark."""
    log_probs: list[float]
    """Of each piece, and of the end mark where ``complete``."""
    complete: bool
    cut_better: bool


def translate(  # noqa: PLR0913 - all that decides a search, by name
    model: NativeModel,
    sources: Sequence[Sequence[int]],
    search: NativeSearch,
    *,
    limits: Sequence[int],
    prefixes: Sequence[Sequence[int]] = (),
    shortlists: Shortlists = (),
    demands: Sequence[Demand] = (),
    threads: int = 1,
    text_of: ReadAs | None = None,
) -> list[list[NativeHypothesis]]:
    """Returns the ``n_best`` hypotheses of each source or fewer, best first; none where no piece was left to choose.

    Args:
        model: an encoder-decoder; or a decoder-only model, whose sources are prompts (see ``continue_prompts``).
        sources: one piece or more each.
        search: how to search.
        limits: most pieces of each translation, end mark included.
        prefixes: what each translation begins with; empty: none does.
        shortlists: the pieces that may translate each, ascending, over which log-probabilities are; empty: all may.
        demands: what each must and must not contain; empty: there is nothing.
        threads: sources are dealt out among so many, each of which takes the next ones when some of its own are over.
        text_of: by what two hypotheses of a source differ, if several are returned; None: by their pieces.

    Raises:
        ModelError: pieces are not in the vocabulary, a text is longer than the model's positions, or logits are NaN.
    """
    if not sources:
        return []
    told, found = ToldSearch(search, model.vocab, text_of), Results(len(sources), search.n_best, max(1, *limits))
    asked, _kept = asked_of(sources, [told] * len(sources), limits, prefixes, shortlists, demands)
    where = model.image.model, model.kernels.encode(), threads
    status = library().ch_translate(*where, asked.ctypes.data, len(sources), found.told)
    if told.error is not None:
        raise told.error
    check(status)
    return found.hypotheses()


def continue_prompts(
    model: NativeModel,
    prompts: Sequence[Sequence[int]],
    search: NativeSearch,
    settings: SamplerSettings,
    *,
    limits: Sequence[int],
    threads: int = 1,
    text_of: ReadAs | None = None,
) -> list[list[NativeHypothesis]]:
    """Returns the ``n_best`` texts that follow each prompt or fewer, best first.

    Args:
        model: a decoder-only model.
        prompts: one piece or more each; windows slide as in ``Texts``.
        search: how to search; its begin mark is not read.
        settings: the penalties and bans of sampling, which go for a search too.
        limits: most pieces of each text, end mark included.
        threads: prompts are dealt out among so many.
        text_of: see ``translate``.

    Raises:
        ModelError: pieces are not in the vocabulary, logits are NaN, or no piece is left.
    """
    asked = replace(search, settings=settings)
    return translate(model, prompts, asked, limits=limits, threads=threads, text_of=text_of)


class ToldSearch:
    """A search as the library reads it, with all that this points to.

    Args:
        search: how to search.
        vocab: pieces of the model.
        text_of: see ``translate``.
    """

    def __init__(self, search: NativeSearch, vocab: int, text_of: ReadAs | None) -> None:
        self.search, self.vocab, self._text_of = search, vocab, text_of
        self._numbers, self._next = dict[Hashable, int](), itertools.count()
        self.error: BaseException | None = None
        """What ``text_of`` raised."""
        self._forbidden = _ints(search.forbidden)
        told = Search(search.beam, search.n_best, search.bos_id, search.eos_id, search.at_least, len(search.forbidden))
        told.forbidden, told.length_penalty = self._forbidden.ctypes.data, search.length_penalty
        told.text_of = self._callback = TextOf() if text_of is None else TextOf(self._number)
        if search.characters is not None:
            self._tables = tell_characters(told, search.characters, vocab)
        if search.settings is not None:
            drawing, self._arrays = drawing_of(search.settings, vocab)
            told.drawing = ctypes.pointer(drawing)
        self._told, self.address = told, ctypes.addressof(told)

    def _number(self, ids: Any, length: int) -> int:
        """Numbers texts for the library: equal ones for equal texts."""
        assert self._text_of is not None
        try:
            return self._numbers.setdefault(self._text_of(ids[:length]), next(self._next))
        except BaseException as error:  # which must not be lost in the library
            self.error = error
            return -1


def asked_of(
    sources: Sequence[Sequence[int]],
    searches: Sequence[ToldSearch],
    limits: Sequence[int],
    prefixes: Sequence[Sequence[int]] = (),
    shortlists: Shortlists = (),
    demands: Sequence[Demand] = (),
) -> tuple[NDArray[Any], list[Any]]:
    """Returns sources and how each is searched for, as the library reads it, and what this points to."""
    each = (searches, limits, *(given or sources for given in (prefixes, shortlists, demands)))
    if any(len(given) != len(sources) for given in each):
        counts = f"{len(searches)} searches, {len(limits)} limits"
        raise ValueError(f"{counts}: must be one for each of {len(sources)} sources")
    asked = np.zeros(len(sources), dtype=ASKED)
    asked["search"], asked["limit"] = [search.address for search in searches], limits
    kept = tell_phrases(demands, searches[0].vocab, asked) if demands else []
    for name, count, rows in (
        ("ids", "length", sources),
        ("prefix", "prefix_length", prefixes),
        ("shortlist", "shortlist_length", shortlists),
    ):
        if rows:
            pieces, asked[count], asked[name] = _laid_out(rows)
            kept.append(pieces)
    return asked, kept


class Results:
    """Room for the hypotheses of sources."""

    def __init__(self, sources: int, n_best: int, stride: int) -> None:
        shape = sources, n_best
        self.ids, self.log_probs = np.zeros((*shape, stride), np.int32), np.zeros((*shape, stride), np.float32)
        self.lengths, self.complete, self.cut_better = (np.zeros(shape, np.int32) for _ in range(3))
        arrays = self.ids, self.log_probs, self.lengths, self.complete, self.cut_better
        self.told = Found(stride, n_best, *(array.ctypes.data for array in arrays))

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


def _laid_out(rows: Sequence[Any]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint64]]:
    """Returns pieces one after another, how many each row has, and where it begins in memory."""
    arrays = isinstance(rows[0], np.ndarray)
    ids = np.concatenate(rows, dtype=np.int32) if arrays else _ints([piece for row in rows for piece in row])
    lengths = _ints([*map(len, rows)])
    starts = np.cumsum(lengths, dtype=np.uint64) - lengths.astype(np.uint64)
    return ids, lengths, np.uint64(ids.ctypes.data) + starts * np.uint64(ids.itemsize)
