"""Texts that a native model reads and writes, a row each, in numpy arrays; no torch."""

import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clearhead.engine.library import KINDS, check, instructions, library
from clearhead.engine.weights.image import Image
from clearhead.engine.weights.packing import Floats

Ints = NDArray[np.int32]
Computed = Literal["native", "torch"]
"""What computes with a loaded model, as its JSON says: a copy that PyTorch has packed is PyTorch's too."""
Cache = Literal["float32", "int8"]
Doubles = NDArray[np.float64]
AT_ONCE = 128
"""Pieces of a text whose logits are there at once."""


class NativeModel:
    """A model packed for the native engine.

    Args:
        image: its packed weights.
        kernels: the set of instructions that computes; None: see ``instructions``.
    """

    def __init__(self, image: Image, kernels: str | None = None) -> None:
        self.image, self.kernels = image, kernels or instructions()
        self.vocab, self.max_len = image.vocab, int(image.model.max_len)

    def holding(self, cache: Cache) -> "NativeModel":
        """Returns the model with keys and values, of what rows have written, held so; weights are shared.

        int8, with a scale for each head and position, is a little more than a quarter of the memory to hold and to
        read, for long texts; the memory of a source is float32 always.
        """
        return NativeModel(self.image.holding(KINDS[cache]), self.kernels)

    def rows(self, threads: int = 1) -> "Rows":
        """Starts without a row; see ``Rows``."""
        return Rows(self, threads)

    def reading(self, ids: Ints, context: int, threads: int = 1) -> Iterator[tuple[Ints, Floats, Doubles]]:
        """Reads a text, each piece of which sees at least half a context before it, as far as there is one.

        Yields, some at a time, the pieces behind the first; for each the logits of all pieces in its place without the
        best of them, [.., vocab]; and the logarithm of the sum of their exponentials, [..], to be taken from these.

        Args:
            ids: of the text; of a model without an encoder.
            context: how many pieces it can look back on.
            threads: see ``Rows``.
        """
        done, last = 0, len(ids) - 1
        while done < last:
            begin = max(0, done - context // 2)
            end, rows = min(begin + context, last), self.rows(threads)
            rows.join_empty(1)
            if begin < done:
                rows.extend(ids[begin:done], _ints([done - begin]))
            for at in range(done, end, AT_ONCE):
                part = ids[at : min(at + AT_ONCE, end)]
                logits = rows.extend(part, _ints([len(part)]), every=True)
                logits = logits - logits.max(axis=1, keepdims=True)
                yield ids[at + 1 :][: len(part)], logits, np.log(np.exp(logits).sum(axis=1, dtype=np.float64))
            done = end


class Rows:
    """Rows of a ``NativeModel`` with their keys and values; no row depends on another.

    Args:
        model: what computes them.
        threads: how many share a product that is large enough; results do not depend on it.

    Raises:
        ModelError: a call asks for what cannot be: pieces out of the vocabulary, a text beyond the model's positions.
    """

    def __init__(self, model: NativeModel, threads: int = 1) -> None:
        self.model, self._library = model, library()
        address = self._library.ch_rows_new(model.image.model, model.kernels.encode(), threads)
        check(address)
        self._address = address
        self._free = weakref.finalize(self, self._library.ch_rows_free, address)

    def __len__(self) -> int:
        return int(self._library.ch_rows_count(self._address))

    @property
    def lengths(self) -> list[int]:
        """Pieces of each row."""
        return [int(self._library.ch_rows_length(self._address, row)) for row in range(len(self))]

    def join_sources(self, sources: Sequence[Sequence[int]], copies: int = 1) -> None:
        """Encodes sources, and adds ``copies`` rows that translate each."""
        ids, lengths = _ints([piece for source in sources for piece in source]), _ints([*map(len, sources)])
        check(self._library.ch_join_sources(self._address, _at(ids), _at(lengths), len(sources), copies))

    def join_empty(self, count: int) -> None:
        """Adds rows of a model without an encoder."""
        check(self._library.ch_join_empty(self._address, count))

    def extend(self, ids: Ints, counts: Ints, *, every: bool = False) -> Floats:
        """Appends pieces to rows, and returns logits [.., vocab] of what follows.

        Args:
            ids: of all rows, one after another.
            counts: [rows], how many of them belong to each row.
            every: whether logits follow each piece, or only the last of each row that got one.
        """
        wanted = len(ids) if every else int(np.count_nonzero(counts))
        if len(counts) != len(self) or int(counts.sum()) != len(ids):
            raise ValueError(f"{len(ids)} pieces and {len(counts)} counts: must be what {len(self)} rows get")
        logits = np.empty((wanted, self.model.image.logits), dtype=np.float32)
        check(self._library.ch_extend(self._address, _at(ids), _at(counts), int(every), _at(logits)))
        return logits[:, : self.model.vocab]

    def back(self, counts: Ints) -> None:
        """Takes the last ``counts[row]`` pieces of each row back."""
        if len(counts) != len(self):
            raise ValueError(f"{len(counts)} counts: must be one for each of {len(self)} rows")
        check(self._library.ch_back(self._address, _at(counts)))

    def keep(self, rows: Ints) -> None:
        """Row i goes on from what row ``rows[i]`` held; a row may be given twice, and others are gone."""
        check(self._library.ch_keep(self._address, _at(rows), len(rows)))

    def states(self, source: Sequence[int]) -> Floats:
        """Returns the encoder's states of a source, [length, d_model with padding]."""
        ids = _ints(source)
        states = np.empty((len(ids), self.model.image.width), dtype=np.float32)
        check(self._library.ch_encode(self._address, _at(ids), len(ids), _at(states)))
        return states


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int32)


def _at(array: NDArray[Any]) -> int:
    """The address of a contiguous array, which its caller keeps alive meanwhile."""
    assert array.flags.c_contiguous
    assert array.dtype in (np.int32, np.float32)
    return int(array.ctypes.data)
