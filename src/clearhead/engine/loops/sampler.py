"""Drawing the next piece by the native library: from the same numbers what ``decode.sampler`` draws; no torch."""

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import WRITTEN, Drawing, Search, check, instructions, library
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


class ToldSettings:
    """Settings as the library reads them, with all that this points to.

    Args:
        settings: how pieces are drawn.
        vocab: pieces of the model.

    Raises:
        ModelError: a piece of the settings is not in the vocabulary.
    """

    def __init__(self, settings: SamplerSettings, vocab: int) -> None:
        self.settings, self.marks = settings, settings.marks
        self._drawing, self._arrays = drawing_of(settings, vocab)
        check(library().ch_check_drawing(self._drawing, vocab))
        self.address = ctypes.addressof(self._drawing)


class NativeSampler:
    """Draws pieces of texts, each as its own settings say; for one thread.

    Args:
        vocab: pieces of the model.
        kernels: the set of instructions that computes; None: see ``instructions``.
    """

    def __init__(self, vocab: int, kernels: str | None = None) -> None:
        self.vocab, self._library = vocab, library()
        address = self._library.ch_sampler_new((kernels or instructions()).encode(), vocab)
        check(address)
        self._address = address
        self._free = weakref.finalize(self, self._library.ch_sampler_free, address)

    def draw(self, logits: Floats, texts: NDArray[Any]) -> tuple[Ints, Floats, dict[int, str]]:
        """Draws the next piece of each text.

        Args:
            logits: [texts, vocab], of the next piece.
            texts: [texts], of ``WRITTEN``.

        Returns:
            Pieces, log-probabilities by the logits as they came, and by number of a text why it has no piece: NaN or
            +inf among its logits, or no piece is left.
        """
        count, faults, first = len(texts), dict[int, str](), 0
        pieces, log_probs = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.float32)
        assert logits.shape == (count, self.vocab)
        assert logits.strides[1] == logits.itemsize == 4
        assert texts.dtype == WRITTEN
        assert texts.flags.c_contiguous
        stride = logits.strides[0] // 4
        while first < count:
            rest = [each[first:].ctypes.data for each in (texts, pieces, log_probs)]
            drawn = self._library.ch_sample(
                self._address, logits[first:].ctypes.data, stride, rest[0], count - first, *rest[1:]
            )
            first += drawn
            if first < count:
                faults[first], pieces[first] = self._library.ch_error().decode(), -1
                first += 1
        return pieces, log_probs, faults

    def best(self, logits: Floats, count: int) -> list[tuple[int, float]]:
        """Returns the ``count`` best pieces by logits [vocab], best first, with their log-probabilities."""
        pieces, log_probs = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.float32)
        assert logits.strides == (4,)
        self._library.ch_best(self._address, logits.ctypes.data, count, pieces.ctypes.data, log_probs.ctypes.data)
        pairs = zip(pieces.tolist(), log_probs.tolist(), strict=True)
        return [(piece, number) for piece, number in pairs if piece >= 0]


def of_row(row: int, fault: object) -> str:
    """Says of which row a fault is, as ``decode.sampling`` does."""
    return f"row {row}{', ' if str(fault).startswith('position') else ': '}{fault}"


def uniforms(
    seeds: NDArray[np.uint64], samples: NDArray[np.int64], positions: NDArray[np.int64], *, stream: int = 0
) -> NDArray[np.float64]:
    """Returns ``uniform_of`` for each seed with its sample and position."""
    numbers = np.empty(len(seeds), dtype=np.float64)
    assert all(each.flags.c_contiguous and each.itemsize == 8 for each in (seeds, samples, positions))
    where = (each.ctypes.data for each in (seeds, samples, positions))
    library().ch_uniforms(*where, stream, len(seeds), numbers.ctypes.data)
    return numbers
