"""Texts of a language model, piece by piece, that join and leave at any step: what a server's batch is; no torch."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import WRITTEN
from clearhead.engine.loops.continuation import Continuation, never
from clearhead.engine.loops.sampler import NativeSampler, SamplerSettings, ToldSettings, uniforms
from clearhead.engine.loops.windows import newer_half
from clearhead.engine.rows import Ints, NativeModel
from clearhead.engine.weights.packing import Floats
from clearhead.errors import ModelError

READING = 128
"""Pieces of prompts that are read in a step, besides the piece that each other text gets."""
ROOM = 256
"""Pieces that a text has room for at first beyond its prompt."""


@dataclass(frozen=True)
class Written:
    """What a step did to a text."""

    ticket: int
    piece: int
    """The piece that it got; -1 where it failed."""
    log_prob: float
    """See ``Continuation``."""
    best: list[tuple[int, float]]
    """The best pieces that there were with their log-probabilities, as many as were asked for when it joined."""
    over: Continuation | Exception | None
    """The text, if it is over; or why it failed: ModelError, or what its ``stopped`` raised."""


@dataclass
class _Text:
    """A row: a text that grows."""

    ticket: int
    told: ToldSettings
    limit: int
    stopped: Callable[[int], bool]
    best: int
    unread: list[int]
    """Pieces that are not in the cache yet: of the prompt, of a window that slides, or the last one that was drawn."""
    ids: NDArray[np.int32]
    """Prompt without end marks and what was written, with room to grow."""
    length: int
    """How many these are."""
    window: list[int] = field(default_factory=list)
    """Pieces in the cache."""
    written: Continuation = field(default_factory=Continuation)


class Writing:
    """Texts that are being written together, each by its own settings.

    A text is the one that ``generate`` writes alone, whatever joins and leaves meanwhile. A prompt is read in parts, so
    that others wait for no long one; so is the half of a window that slides. For one thread at a time; while it
    computes, others run.

    Args:
        model: a decoder-only model.
        threads: how many share a product, where that pays.
        reading: pieces of prompts and windows that are read in a step at the most.
    """

    def __init__(self, model: NativeModel, threads: int = 1, *, reading: int = READING) -> None:
        self.model, self._threads, self._reading = model, threads, reading
        self._rows, self._sampler = model.rows(threads), NativeSampler(model.vocab, model.kernels)
        self._told = weakref.WeakValueDictionary[int, ToldSettings]()
        self._texts, self._last = list[_Text](), 0
        self._table: NDArray[Any] = np.zeros(0, dtype=WRITTEN)
        self._seeds: NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)
        self._samples: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        """Returns how many texts there are."""
        return len(self._texts)

    @property
    def tickets(self) -> list[int]:
        """Of all texts, in the order in which they joined."""
        return [text.ticket for text in self._texts]

    def join(
        self,
        prompt: Sequence[int],
        settings: SamplerSettings,
        *,
        limit: int,
        sample: int = 0,
        stopped: Callable[[int], bool] = never,
        best: int = 0,
    ) -> int:
        """Takes a text in, from the next step on; returns its ticket.

        Args:
            prompt: one piece or more; of one longer than the context the last pieces are read.
            settings: how pieces are drawn.
            limit: most pieces, end mark included; at least 1.
            sample: equal prompts with different numbers give different texts.
            stopped: called with each new piece; True ends the text.
            best: how many of the best pieces each step is to tell.

        Raises:
            ModelError: the prompt or the settings have pieces that are not in the vocabulary.
        """
        vocab = self.model.vocab
        if not prompt or limit < 1 or not 0 <= best <= vocab:
            raise ValueError(f"{len(prompt)} pieces, limit = {limit}, best = {best}: must be 1, 1, and 0 at least")
        if wrong := [piece for piece in prompt if not 0 <= piece < vocab]:
            raise ModelError(f"piece {wrong[0]}: must be from 0 to {vocab - 1}")
        told = self._told.get(id(settings)) or ToldSettings(settings, vocab)
        self._told[id(settings)] = told
        self._last += 1
        seen = settings.text(prompt)
        text = _Text(
            self._last,
            told,
            limit,
            stopped,
            best,
            list(prompt[-self.model.max_len :]),
            np.zeros(len(seen) + min(limit, ROOM), dtype=np.int32),
            len(seen),
        )
        text.ids[: len(seen)] = seen
        self._rows.join_empty(1)
        self._texts.append(text)
        row = np.array([(told.address, text.ids.ctypes.data, 0.0, len(seen), len(seen))], dtype=WRITTEN)
        self._table = np.concatenate([self._table, row])
        self._seeds = np.append(self._seeds, np.uint64(settings.config.seed))
        self._samples = np.append(self._samples, np.int64(sample))
        return text.ticket

    def leave(self, *tickets: int) -> None:
        """Gives texts up, at any time. One that is over or has left is no error."""
        self._keep([row for row, text in enumerate(self._texts) if text.ticket not in tickets])

    def step(self) -> list[Written]:
        """Gives every text a piece, but those whose prompts or windows are not read yet; texts that are over leave."""
        if not self._texts:
            return []
        try:
            ready, logits = self._read()
        except ModelError as error:  # no memory; nothing less can be wrong with all of them
            return self._fail(error)
        if not len(ready):
            return []
        table, numbered = (self._table, slice(None)) if len(ready) == len(self) else (self._table[ready], ready)
        positions = (table["length"] - table["prompt"]).astype(np.int64)
        table["number"] = uniforms(self._seeds[numbered], self._samples[numbered], positions)
        pieces, log_probs, faults = self._sampler.draw(logits, table)
        written, over = list[Written](), set[int]()
        drawn = zip(ready.tolist(), pieces.tolist(), log_probs.tolist(), strict=True)
        for place, (row, piece, log_prob) in enumerate(drawn):
            text = self._texts[row]
            best = self._sampler.best(logits[place], text.best) if text.best else []
            end = ModelError(faults[place]) if place in faults else self._take(text, piece, log_prob)
            written.append(Written(text.ticket, piece, log_prob, best, end))
            if end is None:
                self._append(row, piece)
            else:
                over.add(row)
        self._table["length"][numbered] += 1
        if over:
            self._keep([row for row in range(len(self)) if row not in over])
        return written

    def _read(self) -> tuple[NDArray[np.intp], Floats]:
        """Puts pieces into the cache; returns the rows that are ready for a piece, and their logits."""
        counts, room, parts = np.ones(len(self), dtype=np.int32), self._reading, list[int]()
        for row, text in enumerate(self._texts):
            part, text.unread = text.unread, []
            if len(part) > 1:
                part, text.unread = part[:room], part[room:]
                room -= len(part)
                counts[row] = len(part)
            text.window += part
            parts += part
        logits = self._rows.extend(np.array(parts, dtype=np.int32), counts)
        ready = np.array([row for row, text in enumerate(self._texts) if not text.unread], dtype=np.intp)
        given = np.flatnonzero(counts)
        if len(ready) == len(given):
            return ready, logits
        return ready, np.ascontiguousarray(logits[np.isin(given, ready)])

    @staticmethod
    def _take(text: _Text, piece: int, log_prob: float) -> Continuation | Exception | None:
        """Returns the text if it is over, or what its ``stopped`` raised."""
        try:
            over = text.written.take(piece, log_prob, ends=text.told.marks, limit=text.limit, stopped=text.stopped)
        except Exception as error:  # it is of this text, and others go on
            return error
        return text.written if over else None

    def _append(self, row: int, piece: int) -> None:
        """A text goes on with a piece; a full window slides."""
        text = self._texts[row]
        if text.length == len(text.ids):
            text.ids = np.concatenate([text.ids, np.zeros_like(text.ids)])
            self._table["ids"][row] = text.ids.ctypes.data
        text.ids[text.length] = piece
        text.length += 1
        text.unread = [piece]
        if len(text.window) == self.model.max_len:
            back = np.zeros(len(self), dtype=np.int32)
            back[row] = len(text.window)
            self._rows.back(back)
            text.unread = [*newer_half(text.window, self.model.max_len), piece]
            text.window = []

    def _keep(self, rows: list[int]) -> None:
        """Only these rows stay."""
        if len(rows) == len(self):
            return
        kept: Ints = np.array(rows, dtype=np.int32)
        self._rows.keep(kept)
        self._texts = [self._texts[row] for row in rows]
        self._table, self._seeds, self._samples = self._table[kept], self._seeds[kept], self._samples[kept]

    def _fail(self, error: ModelError) -> list[Written]:
        """All texts end with an error."""
        failed = [Written(text.ticket, -1, 0.0, [], error) for text in self._texts]
        self._texts, self._rows = [], self.model.rows(self._threads)
        self._table, self._seeds, self._samples = self._table[:0], self._seeds[:0], self._samples[:0]
        return failed
