"""A lexical shortlist: which pieces may translate a source, as a run keeps it; no torch."""

import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.brief import Brief
from clearhead.errors import ModelError
from clearhead.files import MOST_OF_TEXT
from clearhead.runs.learned import keep_learned, read_learned
from clearhead.runs.text_parts import Tokenizers

FILE = "shortlist.npz"
AT_ONCE = 256  # sources whose pieces are chosen together
LEARN = "`clearhead shortlist RUN --data DIR` learns one"
MOST_UNPACKED = 1 << 30  # bytes of all lists
# what zipfile, zlib and NumPy raise where a file is none of theirs
DAMAGE = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, TypeError, ValueError, OSError, RuntimeError, MemoryError)

Pieces = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Shortlist(Brief):
    """The target pieces that may come for each source piece, and those that always may."""

    likely: Pieces
    """Target pieces of source piece 0, of source piece 1, ...; most probable first."""
    ends: NDArray[np.int64]
    """[source pieces], where the list of each ends in ``likely``."""
    always: Pieces
    """The end mark, frequent pieces, and what it takes to finish a character."""
    vocab: int
    """Pieces of the target."""

    def choose(self, sources: Sequence[Sequence[int]], also: Sequence[Iterable[int]] = ()) -> list[Pieces]:
        """Returns the target pieces that may translate each source, ascending.

        Args:
            sources: pieces of each.
            also: for each further target pieces, such as those of a prefix; empty: there are none.
        """
        spans = [slice(first, first + AT_ONCE) for first in range(0, len(sources), AT_ONCE)]
        return [pieces for span in spans for pieces in self._chosen(sources[span], also[span])]

    def _chosen(self, sources: Sequence[Sequence[int]], also: Sequence[Iterable[int]]) -> list[Pieces]:
        sizes, pieces = [*map(len, sources)], np.array([piece for source in sources for piece in source], np.int64)
        first = np.where(pieces > 0, self.ends[pieces - 1], 0)
        counts = self.ends[pieces] - first
        # the lists of all pieces one after another: number in the list, and where in `likely` each list begins
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.repeat(np.repeat(np.arange(len(sizes)), sizes), counts)
        chosen = np.zeros((len(sizes), self.vocab), np.bool_)
        chosen[rows, self.likely[np.repeat(first, counts) + inside]] = True
        chosen[:, self.always] = True
        for row, more in enumerate(also):
            chosen[row, [*more]] = True
        return [np.flatnonzero(row).astype(np.int32) for row in chosen]

    def content(self) -> bytes:
        """Returns the file that ``read_shortlist`` reads."""
        stream = io.BytesIO()
        sizes = np.array([self.vocab], np.int64)
        np.savez_compressed(stream, likely=self.likely, ends=self.ends, always=self.always, sizes=sizes)
        return stream.getvalue()

    def save(self, run: Path) -> None:
        """Writes the shortlist of a run in the place of an older one; raises ModelError if that fails."""
        keep_learned(run / FILE, self.content())


def read_shortlist(run: Path, tokenizers: Tokenizers) -> Shortlist | None:
    """Reads the shortlist of a run; None if it has none.

    Raises:
        ModelError: the file is damaged, or of other vocabularies.
    """
    content = read_learned(run / FILE, MOST_OF_TEXT)
    return None if content is None else restored(content, run / FILE, tokenizers)


def restored(content: bytes, path: Path, tokenizers: Tokenizers) -> Shortlist:
    """Returns the shortlist that ``content`` of ``path`` holds; raises ModelError if it has none for ``tokenizers``."""
    src, tgt = tokenizers.src.vocab_size, tokenizers.tgt.vocab_size
    try:
        likely, ends, always, sizes = _arrays(content)
        bounds = np.concatenate([[0], ends])
        if sizes.tolist() != [tgt] or len(ends) != src:
            raise ValueError(
                f"for {len(ends):,} source pieces and {sizes.tolist()} target pieces, not {src:,} and {tgt:,}"
            )
        if (np.diff(bounds) < 0).any() or bounds[-1] != len(likely):
            raise ValueError("its lists do not follow one another")
        every = np.concatenate([likely, always])
        if not len(always) or every.min() < 0 or every.max() >= tgt:
            raise ValueError(f"its pieces are not from 0 to {tgt - 1}")
    except DAMAGE as error:
        raise ModelError(
            f"the shortlist in {str(path)!r} is damaged or another's: {str(error)[:200]}; {LEARN}"
        ) from error
    return Shortlist(likely.astype(np.int32), ends.astype(np.int64), always.astype(np.int32), tgt)


def wanted(shortlist: Shortlist | None, path: Path) -> Shortlist:
    """Returns a shortlist that was asked for; raises ModelError if there is none."""
    if shortlist is None:
        raise ModelError(f"{str(path)!r} has no shortlist: {LEARN}")
    return shortlist


def _arrays(content: bytes) -> list[NDArray[Any]]:
    """Reads four lists of whole numbers, none of which may claim to be large."""
    names = ("likely", "ends", "always", "sizes")
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        if sum(part.file_size for part in packed.infolist()) > MOST_UNPACKED:
            raise ValueError(f"more than {MOST_UNPACKED:,} bytes")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = [file[name] for name in names]
    for name, array in zip(names, arrays, strict=True):
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.signedinteger):
            raise ValueError(f"{name} is no list of whole numbers")
    return arrays
