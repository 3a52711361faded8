"""Drawing the next piece by the native library: from the same numbers what ``decode.sampler`` draws; no torch."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import Drawing, History, Search, check, instructions, library
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.rows import Ints
from clearhead.engine.weights.packing import Floats
from clearhead.text.characters import Characters
from clearhead.text.phrase import Automaton

MOST = 2**31 - 1  # of the library's whole numbers


@dataclass(frozen=True)
class SamplerSettings:
    """How the next piece is drawn, and which never come. Penalties and bans do not see end marks in a prompt."""

    config: SamplingConfig
    eos_id: int
    """The piece that ends a text."""
    forbidden: Sequence[int] = ()
    """Pieces that never come."""
    min_length: int = 0
    """Generated pieces before ``eos_id`` may come."""
    ends: tuple[int, ...] = ()
    """Further pieces that end a text, as some published models have them."""
    avoided: Automaton | None = None
    """Recognises phrases that never come, as ``avoid`` says; a prompt may contain them."""
    characters: Characters | None = None
    """Of a vocabulary with parts of characters: only whole ones are written."""
    limit: int = 1 << 30
    """Most generated pieces of a text; no character begins that cannot be finished within it."""

    @property
    def marks(self) -> frozenset[int]:
        """All pieces that end a text."""
        return frozenset((self.eos_id, *self.ends))

    def text(self, prompt: Sequence[int]) -> list[int]:
        """Returns the prompt without end marks."""
        return [piece for piece in prompt if piece not in self.marks]


def drawing_of(settings: SamplerSettings, vocab: int) -> tuple[Drawing, list[NDArray[Any]]]:
    """Returns the settings as the library reads them, and the arrays that they point to."""
    config, characters, avoided = settings.config, settings.characters, settings.avoided
    arrays: list[NDArray[Any]] = []

    def kept(values: Any, dtype: Any = np.int32) -> int:
        arrays.append(np.ascontiguousarray(values, dtype=dtype))
        return int(arrays[-1].ctypes.data)

    drawing = Drawing(config.temperature, config.top_p, config.min_p, config.typical_p)
    drawing.repetition, drawing.presence = config.repetition_penalty, config.presence_penalty
    drawing.frequency, drawing.eos = config.frequency_penalty, settings.eos_id
    drawing.top_k, drawing.no_repeat_ngram = min(config.top_k, MOST), min(config.no_repeat_ngram, MOST)
    drawing.at_least, drawing.limit = min(settings.min_length, MOST), min(settings.limit, MOST)
    drawing.forbidden_count, drawing.forbidden = len(settings.forbidden), kept(settings.forbidden)
    drawing.ends_count, drawing.ends = len(settings.ends), kept(settings.ends)
    if config.bias:
        pieces, added = zip(*config.bias, strict=True)
        _check_pieces(pieces, vocab)
        drawing.biased_count, drawing.biased, drawing.bias = len(pieces), kept(pieces), kept(added, np.float32)
    if avoided is not None:
        _check_width(avoided.table, vocab)
        drawing.avoided, drawing.avoided_done = kept(avoided.table), kept(avoided.done, np.bool_)
        drawing.avoided_states = len(avoided.done)
    if characters is not None:
        arrays += tell_characters(drawing, characters, vocab)
    return drawing, arrays


def tell_characters(asked: Drawing | Search, characters: Characters, vocab: int) -> list[NDArray[Any]]:
    """Points to the tables of ``characters``; returns the arrays that are pointed to."""
    _check_width(characters.after, vocab)
    if characters.allowed.shape[1:] != characters.after.shape:
        raise ValueError(f"characters of {characters.allowed.shape[2]} pieces: must be those of the model's {vocab}")
    after = np.ascontiguousarray(characters.after, dtype=np.int32)
    allowed = np.ascontiguousarray(characters.allowed, dtype=np.bool_)
    never_first = np.flatnonzero(~allowed[-1, 0]).astype(np.int32)
    asked.rooms, asked.states = allowed.shape[:2]
    asked.after, asked.allowed, asked.never_first = (each.ctypes.data for each in (after, allowed, never_first))
    asked.never_first_count = len(never_first)
    return [after, allowed, never_first]


def _check_pieces(pieces: Sequence[int], vocab: int) -> None:
    """Checks the pieces of ``bias``."""
    if wrong := [piece for piece in pieces if not 0 <= piece < vocab]:
        raise ValueError(f"bias of piece {wrong[0]}: must be of the model's {vocab}")


def _check_width(table: NDArray[Any], vocab: int) -> None:
    """Checks a table of phrases or characters."""
    if table.shape[1] != vocab:
        raise ValueError(f"a table of {table.shape[1]} pieces: must be of the model's {vocab}")


class NativeSampler:
    """Draws pieces as ``settings`` say; for one thread.

    Args:
        settings: how.
        vocab: pieces of the model.
        kernels: the set of instructions that computes; None: see ``instructions``.
    """

    def __init__(self, settings: SamplerSettings, vocab: int, kernels: str | None = None) -> None:
        self.settings, self.vocab, self._library = settings, vocab, library()
        self._drawing, self._arrays = drawing_of(settings, vocab)
        address = self._library.ch_sampler_new(self._drawing, (kernels or instructions()).encode(), vocab)
        check(address)
        self._address = address
        self._free = weakref.finalize(self, self._library.ch_sampler_free, address)

    def draw(
        self, logits: Floats, history: Ints, lengths: Ints, prompts: Ints, uniforms: NDArray[np.float64]
    ) -> tuple[Ints, Floats]:
        """Returns the next piece of each row, and its log-probability by the logits as they came.

        Args:
            logits: [rows, vocab], of the next piece.
            history: [rows, longest], pieces so far, from column 0 on.
            lengths: [rows], how many there are.
            prompts: [rows], how many of them are the prompt's.
            uniforms: [rows], numbers in [0, 1) that decide.

        Raises:
            ModelError: NaN or +inf among the logits, or no piece is left (names row and position).
        """
        rows = len(logits)
        pieces, log_probs = np.empty(rows, dtype=np.int32), np.empty(rows, dtype=np.float32)
        assert logits.shape[1] == self.vocab
        assert logits.strides[1] == logits.itemsize == 4
        assert history.flags.c_contiguous
        assert all(len(each) == rows for each in (history, lengths, prompts, uniforms))
        assert all(each.dtype == np.int32 and each.flags.c_contiguous for each in (history, lengths, prompts))
        assert uniforms.dtype == np.float64
        assert uniforms.flags.c_contiguous
        where = (each.ctypes.data for each in (history, lengths, prompts))
        asked = History(*where, history.shape[1], rows)
        given = (logits.ctypes.data, logits.strides[0] // 4, asked, uniforms.ctypes.data)
        check(self._library.ch_sample(self._address, *given, pieces.ctypes.data, log_probs.ctypes.data))
        return pieces, log_probs


def uniforms(seed: int, samples: Sequence[int], positions: Sequence[int], *, stream: int = 0) -> NDArray[np.float64]:
    """Returns ``uniform_of`` for each pair of a sample and a position."""
    rows, places = np.array(samples, dtype=np.int64), np.array(positions, dtype=np.int64)
    numbers = np.empty(len(rows), dtype=np.float64)
    library().ch_uniforms(seed, rows.ctypes.data, places.ctypes.data, stream, len(rows), numbers.ctypes.data)
    return numbers
