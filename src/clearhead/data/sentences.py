"""Documents encoded sentence by sentence, once, to memory-mapped ids; and which of the sentences fit a model."""

import mmap
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from numpy.typing import NDArray

from clearhead.data.corpus import check_unchanged
from clearhead.data.documents import Documents, TextReport
from clearhead.data.encoded import map_file, open_or_build, open_sealed, seal
from clearhead.errors import DataError
from clearhead.text.sentences import split_sentences
from clearhead.text.tokenizer import Tokenizer

FORMAT = 2
GROUP = 1 << 19  # characters that are encoded in one call
Overlong = Literal["split", "drop", "error"]

_UNKNOWN = re.compile(" ?<unk>")
_SPACED = ("bpe", "unigram")  # kinds that put a space in front of every text they get


class SentenceStore:
    """The sentences of documents as ids, memory-mapped. Pickles as its path.

    A sentence is what ``split_sentences`` finds in a line, for a line is a paragraph. White space between two sentences
    of a line stands before the second one, as tokenizers have it, so that sentences in a row are the line's own pieces.
    """

    def __init__(self, path: Path) -> None:
        """Opens what ``prepare_sentences`` wrote at ``path``; raises DataError when that is damaged."""
        meta = open_sealed(path, version=FORMAT)
        self.path, self.report = path, TextReport(**meta["report"])
        self._map = map_file(path / "ids")
        self.ids: NDArray[Any] = np.frombuffer(self._map, meta["type"])
        self.sentences: NDArray[np.int64] = np.fromfile(path / "sentences", np.int64)
        """Where in ``ids`` each sentence starts, and the end."""
        self.documents: NDArray[np.int64] = np.fromfile(path / "documents", np.int64)
        """Which sentence each document starts with, and the end."""

    def __reduce__(self) -> tuple[Any, ...]:
        return SentenceStore, (self.path,)

    def __len__(self) -> int:
        """Number of sentences."""
        return len(self.sentences) - 1

    def document_at(self, places: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Returns the number, from 1, of the document that holds each place of ``ids``."""
        sentence = np.searchsorted(self.sentences, places, side="right") - 1
        return np.searchsorted(self.documents, sentence, side="right")

    def release(self) -> None:
        """Gives the pages read so far back to the system's cache: they no longer count as this process's."""
        self._map.madvise(mmap.MADV_DONTNEED)


def prepare_sentences(
    documents: Documents,
    *,
    tokenizer: Tokenizer,
    cache_dir: Path,
    progress: Callable[[int, int], object] = lambda done, total: None,
    group: int = GROUP,
) -> SentenceStore:
    """Encodes documents by sentence, or opens what an earlier run encoded from the same text in the same way.

    Under the markup ``wikitext`` a written ``<unk>`` becomes the unknown piece. A document without a piece is left out.

    Args:
        documents: the text of one split.
        tokenizer: gives the ids.
        cache_dir: folder of all encoded data; each split gets one below it.
        progress: called with (characters done, characters in all).
        group: characters that are encoded in one call, and the end of a document.

    Raises:
        DataError: there is no piece at all, the text cannot be used, or the disk is full.
    """
    return open_or_build(
        ["sentences", FORMAT, documents.digest, tokenizer.fingerprint],
        cache_dir,
        reuse=documents.config.cache,
        read=SentenceStore,
        write=lambda folder: _build(folder, documents, tokenizer, progress, group=group),
    )


def _build(
    folder: Path, documents: Documents, tokenizer: Tokenizer, progress: Callable[[int, int], object], *, group: int
) -> None:
    """Writes the files of a store."""
    code, unk = "H" if tokenizer.vocab_size <= 1 << 16 else "I", tokenizer.ids.unk
    marked = _UNKNOWN if documents.config.markup == "wikitext" else None
    sizes, owners, unknown, count = array("q"), array("q"), 0, 0
    with (folder / "ids").open("wb") as file:
        for texts in _groups(documents, strip=tokenizer.config.kind in _SPACED, size=group):
            rows = _encode(list(chain.from_iterable(texts)), tokenizer, marked)
            found = array(code, chain.from_iterable(rows))
            found.tofile(file)
            unknown += found.count(unk)
            sizes.extend(map(len, rows))
            owners.extend(number for number, document in enumerate(texts, count) for _ in document)
            count += len(texts)
            progress(documents.report.characters, documents.characters)
    lengths, owner = np.array(sizes, np.int64), np.array(owners, np.int64)
    lengths, owner = lengths[lengths > 0], owner[lengths > 0]
    check_unchanged(documents.stamps)
    report = replace(documents.report, tokens=int(lengths.sum()), unknown=unknown)
    if not report.tokens:
        raise DataError(f"{', '.join(report.files)}: no pieces, at least one sentence is needed")
    np.append(0, np.cumsum(lengths)).tofile(folder / "sentences")
    np.append(np.flatnonzero(np.diff(owner, prepend=-1)), len(owner)).tofile(folder / "documents")
    seal(folder, {"type": np.dtype(code).str, "report": asdict(report)}, version=FORMAT)


def _groups(documents: Documents, *, strip: bool, size: int) -> Iterator[list[list[str]]]:
    """Yields documents, as sentences, that are encoded in one call."""
    group: list[list[str]] = []
    taken = 0
    for document in documents:
        group.append([text.strip() if strip else text for line in document.split("\n") for text in _sentences(line)])
        taken += len(document)
        if taken >= size:
            yield group
            group, taken = [], 0
    if group:
        yield group


def _sentences(line: str) -> Iterator[str]:
    """Yields the sentences of a line, with the white space before each."""
    space = ""
    for part in split_sentences(line.strip()):
        text = part.rstrip()
        yield space + text
        space = part[len(text) :]


def _encode(texts: list[str], tokenizer: Tokenizer, unknown: re.Pattern[str] | None) -> list[list[int]]:
    """Encodes sentences; what ``unknown`` matches is the unknown piece."""
    if unknown is None:
        return tokenizer.encode_batch(texts)
    parts = [unknown.split(text) for text in texts]
    strip = tokenizer.config.kind in _SPACED
    flat = [part.removeprefix(" ") if strip else part for row in parts for part in row]
    encoded = iter(tokenizer.encode_batch(flat))
    rows = []
    for row in parts:
        ids = next(encoded)
        for _ in row[1:]:
            ids += [tokenizer.ids.unk, *next(encoded)]
        rows.append(ids)
    return rows


@dataclass(frozen=True)
class Units:
    """What segments are filled with: sentences, or parts of one that is over-long; unit after unit in each run."""

    starts: Int[ndarray, " units"]
    """Where in the store's ``ids`` each unit starts."""
    ends: Int[ndarray, " units"]
    """Where it ends."""
    runs: Int[ndarray, " runs_plus_1"]
    """First unit of each run, and the end: a document, or what lies between sentences that were dropped of one."""
    documents: Int[ndarray, " units"]
    """Number of the document that each unit is of."""
    overlong: int
    """Sentences of more than ``limit`` pieces."""
    dropped: int
    """Pieces of them that are not used; the others are."""
    limit: int

    @property
    def used(self) -> int:
        """Pieces in all units."""
        return int((self.ends - self.starts).sum())

    def lines(self, report: TextReport) -> list[str]:
        """Returns the report of the text with what became of its sentences, line by line, for a terminal."""
        used = self.used
        text = [*report.lines(), f"  {len(self.starts):,} sentences or parts, at most {self.limit:,} pieces each"]
        text += [f"  {self.overlong:,} sentences were longer"] if self.overlong else []
        return [*text, f"  {used + self.dropped:,} pieces in = {used:,} used + {self.dropped:,} dropped"]


def fit_sentences(store: SentenceStore, *, limit: int, overlong: Overlong) -> Units:
    """Says what becomes of sentences of more than ``limit`` pieces.

    ``split`` divides one into parts of like size, ``drop`` leaves it out; what stood before and after it is then not
    a text in a row any more.

    Raises:
        DataError: such a sentence is there under the policy ``error``, or nothing is left.
    """
    lengths = np.diff(store.sentences)
    long = lengths > limit
    files = ", ".join(store.report.files)
    if overlong == "error" and long.any():
        number, worst = int(long.sum()), int(lengths.max())
        rule = f"{number} sentences of more than {limit} pieces, the longest of {worst}"
        raise DataError(f"{files}: {rule}; overlong may be split or drop")
    document = np.repeat(np.arange(len(store.documents) - 1), np.diff(store.documents))
    parts = np.where(long, 0 if overlong == "drop" else -(-lengths // limit), 1)
    if not parts.any():
        raise DataError(f"{files}: every sentence has more than {limit} pieces, and overlong drops them")
    sentence = np.repeat(np.arange(len(lengths)), parts)
    part = np.arange(len(sentence)) - np.repeat(np.cumsum(parts) - parts, parts)
    starts, ends = (
        store.sentences[sentence] + lengths[sentence] * place // parts[sentence] for place in (part, part + 1)
    )
    fresh = (np.diff(document[sentence], prepend=-1) != 0) | (starts != np.append(-1, ends[:-1]))
    runs = np.append(np.flatnonzero(fresh), len(starts))
    dropped = int(lengths[parts == 0].sum())
    return Units(starts, ends, runs, document[sentence], int(long.sum()), dropped, limit)
