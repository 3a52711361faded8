"""Documents encoded sentence by sentence into memory-mapped ids, and the sentences fitted to a model's length."""

import mmap
import re
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from numpy.typing import NDArray

from clearhead.data.corpus import check_unchanged
from clearhead.data.documents import Documents, TextReport
from clearhead.data.encoded import map_file, open_or_build, open_sealed, seal
from clearhead.errors import DataError
from clearhead.progress import Progress, silent
from clearhead.text.overlong import OverlongSentence
from clearhead.text.sentences import split_sentences
from clearhead.text.tokenizer import Tokenizer

_FORMAT = 3  # since sentences end as sentencex says
GROUP_CHARACTERS = 1 << 19  # characters that are encoded in one call, at least

_UNKNOWN = re.compile(" ?<unk>")
_SPACED = ("bpe", "unigram")  # kinds of tokenizer that put a space in front of every text


class SentenceStore:
    """The sentences of documents as ids, memory-mapped. Pickles as its path.

    ``split_sentences`` divides each line, which is taken for a paragraph. White space between two sentences of a line
    belongs to the second one, as in most tokenizers, so that the sentences together have the pieces of the line.
    """

    def __init__(self, path: Path) -> None:
        """Opens what ``prepare_sentences`` wrote at ``path``; raises DataError if it is damaged."""
        meta = open_sealed(path, version=_FORMAT)
        self.path, self.report = path, TextReport(**meta["report"])
        self._map = map_file(path / "ids")
        self.ids: NDArray[Any] = np.frombuffer(self._map, meta["type"])
        self.sentences: NDArray[np.int64] = np.fromfile(path / "sentences", np.int64)
        """Start of each sentence in ``ids``, and the end of the last one."""
        self.documents: NDArray[np.int64] = np.fromfile(path / "documents", np.int64)
        """Number of the first sentence of each document, and the number of sentences."""

    def __reduce__(self) -> tuple[Any, ...]:
        return SentenceStore, (self.path,)

    def __len__(self) -> int:
        """Number of sentences."""
        return len(self.sentences) - 1

    def document_at(self, places: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Returns, for places in ``ids``, the number (from 1) of the document each is in."""
        sentence = np.searchsorted(self.sentences, places, side="right") - 1
        return np.searchsorted(self.documents, sentence, side="right")

    def release(self) -> None:
        """Releases the pages read so far, so that they no longer count as memory of this process."""
        self._map.madvise(mmap.MADV_DONTNEED)


def prepare_sentences(
    documents: Documents,
    *,
    tokenizer: Tokenizer,
    cache_dir: Path,
    progress: Progress = silent,
    group: int = GROUP_CHARACTERS,
) -> SentenceStore:
    """Encodes documents sentence by sentence, or opens the result of an earlier run on the same text and tokenizer.

    Under the markup ``wikitext`` the text ``<unk>`` becomes the unknown piece. A document without pieces is left out.

    Args:
        documents: the text of one split.
        tokenizer: gives the ids.
        cache_dir: folder of all encoded data; each split gets a folder in it.
        progress: called with (characters done, characters in all).
        group: characters that are encoded in one call, at least.

    Raises:
        DataError: the text gives no pieces or cannot be used, or the disk is full.
    """
    return open_or_build(
        ["sentences", _FORMAT, documents.digest, tokenizer.fingerprint],
        cache_dir,
        reuse=documents.config.cache,
        read=SentenceStore,
        write=lambda folder: _build(folder, documents, tokenizer, progress, group=group),
    )


def _build(folder: Path, documents: Documents, tokenizer: Tokenizer, progress: Progress, *, group: int) -> None:
    """Writes the files of a store."""
    code, unk = "H" if tokenizer.vocab_size <= 1 << 16 else "I", tokenizer.ids.unk
    marked = _UNKNOWN if documents.config.markup == "wikitext" else None
    sizes, owners, unknown, count = array("q"), array("q"), 0, 0
    with (folder / "ids").open("wb") as file:
        for texts in _groups(documents, strip=tokenizer.config.kind in _SPACED, least=group):
            rows = _encode(list(chain.from_iterable(texts)), tokenizer, marked)
            ids = array(code, chain.from_iterable(rows))
            ids.tofile(file)
            unknown += ids.count(unk)
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
    seal(folder, {"type": np.dtype(code).str, "report": asdict(report)}, version=_FORMAT)


def _groups(documents: Documents, *, strip: bool, least: int) -> Iterator[list[list[str]]]:
    """Yields the documents to encode in one call, each as its sentences."""
    group: list[list[str]] = []
    size = 0
    for document in documents:
        group.append([text.strip() if strip else text for line in document.split("\n") for text in _sentences(line)])
        size += len(document)
        if size >= least:
            yield group
            group, size = [], 0
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
    """Encodes sentences; text that ``unknown`` matches becomes the unknown piece."""
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
    """What segments are filled with: sentences, or parts of over-long ones. The units of a run follow each other."""

    starts: Int[ndarray, " units"]
    """Start of each unit in the store's ``ids``."""
    ends: Int[ndarray, " units"]
    """End of each unit."""
    runs: Int[ndarray, " runs_plus_1"]
    """First unit of each run, and the end. A run is a document, or a part of one between two dropped sentences."""
    documents: Int[ndarray, " units"]
    """Number of the document of each unit."""
    overlong: int
    """Number of sentences of more than ``limit`` pieces."""
    dropped: int
    """Number of pieces in sentences that were dropped; all others are used."""
    limit: int
    """Maximum number of pieces in a unit."""

    @property
    def used(self) -> int:
        """Number of pieces in all units."""
        return int((self.ends - self.starts).sum())

    def lines(self, report: TextReport) -> list[str]:
        """Returns the report of the text with what became of its sentences, line by line, for a terminal."""
        used = self.used
        text = [*report.lines(), f"  {len(self.starts):,} sentences or parts, at most {self.limit:,} pieces each"]
        if self.overlong:
            text.append(f"  {self.overlong:,} sentences were longer")
        return [*text, f"  {used + self.dropped:,} pieces in = {used:,} used + {self.dropped:,} dropped"]


def fit_sentences(store: SentenceStore, *, limit: int, overlong: OverlongSentence) -> Units:
    """Divides the text into units of at most ``limit`` pieces.

    A longer sentence is cut into parts of about equal size (``split``) or left out (``drop``), which ends the run: the
    sentences before and after it do not follow each other.

    Raises:
        DataError: a sentence is longer under the policy ``error``, or no sentence is left.
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
