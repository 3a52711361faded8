"""Translations drawn piece by piece, each from numbers of its own: what a search does not find; no torch."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import WRITTEN
from clearhead.engine.loops.continuation import Continuation, never
from clearhead.engine.loops.sampler import NativeSampler, SamplerSettings, ToldSettings, of_row, uniforms
from clearhead.engine.rows import NativeModel
from clearhead.errors import ModelError

ROWS = 128  # that a thread has at a time
PART = 32  # bits of a position that count the pieces of a part; those above count the parts of a text


@dataclass(frozen=True)
class Draw:
    """A source, how its translation is drawn, and which numbers decide."""

    source: Sequence[int]
    """Its pieces, end mark included."""
    settings: SamplerSettings
    """With the limit of this translation."""
    sample: int
    """Number of the text: equal sources with different numbers give different translations."""
    part: int = 0
    """Which part of the text it is."""


@dataclass
class _Row:
    """A translation that grows."""

    number: int
    told: ToldSettings
    ids: NDArray[np.int32]
    last: int
    written: Continuation = field(default_factory=Continuation)


def draw_translations(
    model: NativeModel, draws: Sequence[Draw], *, bos_id: int, threads: int = 1, rows: int = ROWS
) -> list[Continuation]:
    """Draws a translation of each source; it depends on the source, its settings and its numbers alone.

    Args:
        model: an encoder-decoder.
        draws: the sources.
        bos_id: what every translation starts with.
        threads: sources are dealt out among so many.
        rows: translations that a thread writes at a time; others take the place of those that are over.

    Raises:
        ModelError: pieces are not in the vocabulary, logits are NaN, or no piece is left to draw.
    """
    count = max(1, min(threads, len(draws)))
    parts = [range(first, len(draws), count) for first in range(count)]
    with ThreadPoolExecutor(count) as pool:
        done = pool.map(lambda numbers: _Drawer(model, draws, bos_id, rows).run(numbers), parts)
        found = {number: text for part in done for number, text in part.items()}
    return [found[number] for number in range(len(draws))]


class _Drawer:
    """What one thread has of the sources."""

    def __init__(self, model: NativeModel, draws: Sequence[Draw], bos_id: int, most: int) -> None:
        self._model, self._draws, self._bos, self._most = model, draws, bos_id, most
        self._rows, self._sampler = model.rows(1), NativeSampler(model.vocab, model.kernels)
        self._told = dict[int, ToldSettings]()
        self._texts = list[_Row]()
        self._table = np.zeros(0, dtype=WRITTEN)

    def run(self, numbers: Sequence[int]) -> dict[int, Continuation]:
        """Returns the translations of the sources with these numbers."""
        waiting, done = list(reversed(numbers)), dict[int, Continuation]()
        while waiting or self._texts:
            if waiting and len(self._texts) <= self._most * 3 // 4:
                self._join([waiting.pop() for _ in range(min(len(waiting), self._most - len(self._texts)))])
            self._step(done)
        return done

    def _join(self, numbers: list[int]) -> None:
        self._rows.join_sources([self._draws[number].source for number in numbers])
        table = np.zeros(len(numbers), dtype=WRITTEN)
        for place, number in enumerate(numbers):
            settings = self._draws[number].settings
            told = self._told.get(id(settings)) or ToldSettings(settings, self._model.vocab)
            self._told[id(settings)] = told
            row = _Row(number, told, np.zeros(settings.limit, dtype=np.int32), self._bos)
            table["drawing"][place], table["ids"][place] = told.address, row.ids.ctypes.data
            self._texts.append(row)
        self._table = np.concatenate([self._table, table])

    def _step(self, done: dict[int, Continuation]) -> None:
        """Gives every translation a piece; those that are over leave."""
        last = np.array([text.last for text in self._texts], dtype=np.int32)
        logits = self._rows.extend(last, np.ones(len(last), dtype=np.int32))
        draws = [self._draws[text.number] for text in self._texts]
        seeds = np.array([draw.settings.config.seed for draw in draws], dtype=np.uint64)
        samples = np.array([draw.sample for draw in draws], dtype=np.int64)
        parts = np.array([draw.part for draw in draws], dtype=np.int64)
        positions = (parts << PART) + self._table["length"]
        self._table["number"] = uniforms(seeds, samples, positions)
        pieces, log_probs, faults = self._sampler.draw(logits, self._table)
        stay = list[int]()
        for row, (text, piece, log_prob) in enumerate(
            zip(self._texts, pieces.tolist(), log_probs.tolist(), strict=True)
        ):
            if row in faults:
                raise ModelError(of_row(text.number, faults[row]))
            settings, length = text.told.settings, len(text.written.ids)
            if text.written.take(piece, log_prob, ends=settings.marks, limit=settings.limit, stopped=never):
                done[text.number] = text.written
                continue
            text.ids[length] = text.last = piece
            stay.append(row)
        self._table["length"] += 1
        if len(stay) < len(self._texts):
            kept = np.array(stay, dtype=np.int32)
            self._rows.keep(kept)
            self._texts = [self._texts[row] for row in stay]
            self._table = self._table[kept]
