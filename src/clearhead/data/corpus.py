"""Parallel text files: finds, checks, reads and filters them, and reports what became of every line."""

import codecs
import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import IO, cast

import numpy as np

from clearhead.data.corpora.context import Contexts, Pair
from clearhead.data.corpora.filters import FilterConfig, LineFilter, reading
from clearhead.data.corpora.mixture import ParallelCorpus, check_names
from clearhead.data.corpora.report import EXAMPLES, CorpusReport
from clearhead.data.seen import Seen
from clearhead.errors import DataError, nearest
from clearhead.files import HEAD, Unpacked, bounded_lines, check_line, not_utf8
from clearhead.ranges import Factor, Length, LinesBefore, Ratio, Workers
from clearhead.text.normalize import changed
from clearhead.text.overlong import OverlongPair
from clearhead.text.sentences import split_sentences
from clearhead.text.tokenizer import Tokenizer


class NoSplitError(DataError):
    """The files of a split are missing."""


@dataclass(frozen=True)
class SplitStems:
    """Which files are read."""

    train: str = "train"
    """Stem of the training files: the file of language ``en`` is ``train.en`` or ``train.en.gz``."""
    valid: str = "valid"
    """Stem of the validation files."""
    test: str = "test"
    """Stem of the test files."""


@dataclass(frozen=True)
class DataConfig(SplitStems):
    """Which files are read, which of their lines are kept, and what is read with a line."""

    max_len: Length = 256
    """Maximum number of pieces on each side, begin and end marks not counted."""
    overlong: OverlongPair = "drop"
    """Policy for pairs longer than ``max_len``; ``split`` cuts both sides at their sentence ends."""
    max_ratio: Ratio = 0.0
    """Drops pairs in which one side has more than this many times the pieces of the other; 0 keeps all."""
    drop_duplicates: bool = True
    """Drops a pair of lines that has occurred before."""
    filters: FilterConfig = field(default_factory=FilterConfig)
    """Further reasons to drop a pair."""
    workers: Workers = 0
    """Processes that prepare batches, 0 for none besides the training process; the order stays the same."""
    cache: bool = True
    """Uses encoded data of an earlier run; false encodes anew."""
    corpora: tuple[ParallelCorpus, ...] = ()
    """Several corpora, each a table ``[[data.corpora]]``; none: the files are in the folder itself."""
    context: LinesBefore = 0
    """Lines before a source line that are read with it, 0 or 1; ``max_len`` is of both, and a blank line parts them."""
    temperature: Factor = 1.0
    """The share of a corpus is weight * size ** (1 / temperature), over the sum of all: 1: by size, more: more even."""

    def __post_init__(self) -> None:
        check_names(self.corpora)
        if 0 < self.max_ratio < 1:
            raise ValueError(f"max_ratio = {self.max_ratio}: must be 0 (off) or at least 1")


@dataclass(frozen=True)
class Scan:
    """What one pass over the bytes of a file, or of two parallel ones, says about them."""

    lines: int
    """Number of lines in each file."""
    digest: str
    """SHA-256 of the content of each file."""
    byte_order_marks: list[str]
    """Names of the files that begin with a byte order mark."""
    stamps: "Stamps" = field(default_factory=dict, compare=False)
    """Size and modification time of both files, taken before they were read."""


@dataclass(frozen=True)
class ParallelFiles:
    """Two files, plain or gzip, whose equal line numbers are translations of each other.

    Only a line feed (or carriage return and line feed) ends a line; a leading byte order mark is removed.
    """

    src: Path
    tgt: Path
    languages: tuple[str, str] = ("", "")
    """Of source and target, as filters need to know."""

    def swapped(self) -> "ParallelFiles":
        """Returns the same pairs in the other direction."""
        return replace(self, src=self.tgt, tgt=self.src, languages=self.languages[::-1])

    def scan(self) -> Scan:
        """Counts the lines, computes the digests and looks for byte order marks.

        Raises:
            DataError: a file cannot be read or is empty, or the two have unequal numbers of lines.
        """
        stamps = stamps_of([self.src, self.tgt])
        (lines, src_digest, src_bom), (tgt_lines, tgt_digest, tgt_bom) = _scan(self.src), _scan(self.tgt)
        if lines != tgt_lines:
            counts = f"{self.src} has {lines} lines but {self.tgt} has {tgt_lines}"
            raise DataError(f"{counts}: line N of one must translate line N of the other")
        marked = [path.name for path, bom in ((self.src, src_bom), (self.tgt, tgt_bom)) if bom]
        return Scan(lines, f"{src_digest}-{tgt_digest}", marked, stamps)

    def __iter__(self) -> Iterator[tuple[int, str, str]]:
        """Yields (line number from 1, source, target); raises DataError at a line that is not UTF-8."""
        for number, (src, tgt) in enumerate(zip_longest(text_lines(self.src), text_lines(self.tgt)), 1):
            if src is None or tgt is None:  # the scan counted equal numbers of lines
                raise DataError(f"{self.src} or {self.tgt} changed while it was read")
            yield number, src, tgt


@dataclass(frozen=True)
class ParallelRows(ParallelFiles):
    """Pairs in one file, which is both ``src`` and ``tgt``, in the formats of ``formats.pairs``."""

    turned: bool = False
    """Whether the file has the target first, where nothing else tells the two apart."""

    def swapped(self) -> ParallelFiles:
        """See ``ParallelFiles``."""
        return replace(self, languages=self.languages[::-1], turned=not self.turned)

    def scan(self) -> Scan:
        """See ``ParallelFiles``: the digests are of the texts, whatever format holds them."""
        from clearhead.data.formats.tables import is_table, table_files

        stamps = stamps_of(table_files(self.src) if is_table(self.src) else [self.src])
        count, digests = 0, (hashlib.sha256(), hashlib.sha256())
        for count, *texts in self:  # noqa: B007 - the last number is that of all
            for digest, text in zip(digests, texts, strict=True):
                digest.update(f"{text}\n".encode())
        if not count:
            raise DataError(f"{self.src} has no rows")
        return Scan(count, "-".join(digest.hexdigest() for digest in digests), [], stamps)

    def __iter__(self) -> Iterator[tuple[int, str, str]]:
        """See ``ParallelFiles``; rows are numbered from 1."""
        from clearhead.data.formats.pairs import pair_rows

        order = self.languages[::-1] if self.turned else self.languages
        for number, pair in enumerate(pair_rows(self.src, *order), 1):
            yield number, *(pair[::-1] if self.turned else pair)


Stamps = dict[Path, tuple[int, int]]
"""File -> its size in bytes and its modification time in nanoseconds."""


def stamps_of(files: Iterable[Path]) -> Stamps:
    """Returns the size and modification time of each file; files that cannot be accessed are left out."""
    stamps: Stamps = {}
    for path in files:
        with suppress(OSError):
            status = path.stat()
            stamps[path] = status.st_size, status.st_mtime_ns
    return stamps


def check_unchanged(stamps: Stamps) -> None:
    """Checks that no file has changed since its stamp was taken, so that two passes read the same text.

    Raises:
        DataError: a file has changed or is gone.
    """
    now = stamps_of(stamps)
    for path, stamp in stamps.items():
        if now.get(path) != stamp:
            raise DataError(f"{path} {'changed' if path in now else 'vanished'} while it was read")


def read_parallel(folder: Path, *, stem: str, src: str, tgt: str) -> ParallelFiles:
    """Finds ``stem.src`` and ``stem.tgt`` in ``folder``, each plain or with ``.gz``; or one file with both.

    Raises:
        DataError: a file is missing (the message names the nearest one) or exists both plain and compressed.
    """
    if not folder.is_dir():
        raise DataError(f"data folder {str(folder)!r} does not exist or is not a folder")
    if src == tgt:
        raise DataError(f"source and target language are both {src!r}: parallel text needs two files")
    from clearhead.data.formats.pairs import find_pairs

    if together := find_pairs(folder, stem):
        plain = [folder / f"{stem}.{side}{end}" for side in (src, tgt) for end in ("", ".gz")]
        if others := [*together[1:], *(path for path in plain if path.exists())]:
            raise DataError(f"{together[0]} and {others[0].name} both exist: keep one of them")
        return ParallelRows(together[0], together[0], (src, tgt))
    return ParallelFiles(_find(folder, f"{stem}.{src}"), _find(folder, f"{stem}.{tgt}"), (src, tgt))


class PairFilter:
    """Encodes lines, applies the policies of ``config`` and counts what became of them in ``report``."""

    def __init__(self, config: DataConfig, *, files: ParallelFiles, src: Tokenizer, tgt: Tokenizer) -> None:
        self._config, self._files, self._src, self._tgt = config, files, src, tgt
        self._seen, self._lengths = Seen(), (Counter[int](), Counter[int]())
        self._read, self._judge = Seen(), LineFilter(config.filters, files.languages)
        self._changed = Counter[str](), Counter[str]()
        self.report = CorpusReport()
        self._contexts = Contexts(src, most=config.max_len, report=self.report) if config.context else None

    def __call__(self, lines: list[tuple[int, str, str]]) -> list[Pair]:
        """Encodes ``lines`` (number, source, target) and returns the pairs that the policies keep.

        Raises:
            DataError: a pair is too long under the policy ``error``.
        """
        pairs = self._encode(lines)
        self._lengths[0].update(len(pair.src_ids) for pair in pairs)
        self._lengths[1].update(len(pair.tgt_ids) for pair in pairs)
        self._changed[0].update(changed((pair.src for pair in pairs), self._src.config.normalization))
        self._changed[1].update(changed((pair.tgt for pair in pairs), self._tgt.config.normalization))
        fresh = self._seen.new([f"{pair.src}\n{pair.tgt}" for pair in pairs])
        repeats = [""] * len(pairs)
        if self._config.filters.near_duplicates:
            alike = self._read.new([f"{reading(pair.src)}\n{reading(pair.tgt)}" for pair in pairs])
            repeats = ["" if first else "near_duplicate" for first in alike.tolist()]
        if self._config.drop_duplicates:
            repeats = [why if first else "duplicate" for first, why in zip(fresh.tolist(), repeats, strict=True)]
        kept_pairs: list[Pair] = []
        contexts = self._contexts.before(pairs) if self._contexts else [[]] * len(pairs)
        for pair, repeat, before in zip(pairs, repeats, contexts, strict=True):
            reason = self._reason(pair, repeat)
            parts = [] if reason else [pair]
            if reason == "too_long":
                parts, reason = self._shorten(pair)
            if not parts:
                self._drop(pair, reason)
            self.report.kept += bool(parts)
            kept_pairs += self._contexts.given(parts, before) if self._contexts else parts
        for pair in kept_pairs:
            self.report.count(pair.src_ids, pair.tgt_ids, used=True, unk=self._src.ids.unk)
        self.report.read += len(pairs)
        self.report.pairs += len(kept_pairs)
        return kept_pairs

    def finish(self) -> CorpusReport:
        """Returns the report, with the lengths and normalizations of all lines read."""
        sides = self.report.src, self.report.tgt
        for side, lengths, changes in zip(sides, self._lengths, self._changed, strict=True):
            side.changed = dict(changes.most_common(20))
            values = sorted(lengths) or [0]
            ends = np.cumsum([lengths[value] for value in values])
            side.p50, side.p95, side.longest = (values[np.searchsorted(ends, q * ends[-1])] for q in (0.5, 0.95, 1))
        return self.report

    def _encode(self, lines: list[tuple[int, str, str]]) -> list[Pair]:
        src_ids = self._src.encode_batch([src for _, src, _ in lines])
        tgt_ids = self._tgt.encode_batch([tgt for _, _, tgt in lines])
        return [Pair(*line, *ids) for line, *ids in zip(lines, src_ids, tgt_ids, strict=True)]

    def _reason(self, pair: Pair, repeat: str = "") -> str:
        """Returns why ``pair`` cannot stay as it is; an empty string if it can. ``repeat``: what it repeats, if so."""
        short, long = sorted((len(pair.src_ids), len(pair.tgt_ids)))
        if not short or not pair.src.strip() or not pair.tgt.strip():
            return "empty"
        if why := repeat or self._judge(pair.src, pair.tgt, len(pair.src_ids), len(pair.tgt_ids)):
            return why
        if self._config.max_ratio and long > self._config.max_ratio * short:
            return "ratio"
        return "too_long" if long > self._config.max_len else ""

    def _shorten(self, pair: Pair) -> tuple[list[Pair], str]:
        """Applies the policy to a pair that is too long: returns what is kept of it, or nothing and the reason."""
        limit = self._config.max_len
        match self._config.overlong:
            case "error":
                count, path = max((len(pair.src_ids), self._files.src), (len(pair.tgt_ids), self._files.tgt))
                rule = f"{count} pieces, more than max_len = {limit}"
                raise DataError(f"{path} line {pair.line}: {rule}; overlong may be drop, truncate or split")
            case "truncate":
                self.report.truncated += 1
                src_end = self._src.border(pair.src_ids, limit)
                tgt_end = self._tgt.border(pair.tgt_ids, limit)
                self.report.count(pair.src_ids[src_end:], pair.tgt_ids[tgt_end:], used=False, unk=self._src.ids.unk)
                return [pair._replace(src_ids=pair.src_ids[:src_end], tgt_ids=pair.tgt_ids[:tgt_end])], ""
            case "split":
                src, tgt = ([part.strip() for part in split_sentences(text)] for text in (pair.src, pair.tgt))
                if len(src) == len(tgt):
                    parts = self._encode([(pair.line, *both) for both in zip(src, tgt, strict=True)])
                    if not any(map(self._reason, parts)):
                        self.report.split += 1
                        return parts, ""
                return [], "unsplittable"
        return [], "too_long"

    def _drop(self, pair: Pair, reason: str) -> None:
        self.report.dropped[reason] = self.report.dropped.get(reason, 0) + 1
        examples = self.report.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(pair.line)
        self.report.count(pair.src_ids, pair.tgt_ids, used=False, unk=self._src.ids.unk)


def _find(folder: Path, name: str) -> Path:
    paths = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if len(paths) == 2:
        raise DataError(f"{paths[0]} and {paths[1].name} both exist: keep one of them")
    if not paths:
        hint = nearest(name, [path.name for path in folder.iterdir() if path.is_file()])
        raise NoSplitError(f"{folder / name}: no such file, nor with .gz{hint or '; the folder holds no files'}")
    return paths[0]


def _stream(path: Path) -> io.BufferedReader:
    return io.BufferedReader(Unpacked(path), 1 << 17) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def open_text(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file, plain or gzip; raises DataError if it cannot be read, or is no UTF-8 text (says what it is)."""
    problem = ""
    try:
        if path.is_file():  # a pipe gives no byte twice
            with _stream(path) as stream:
                problem = not_utf8(stream.read(HEAD))
        if problem:
            raise DataError(f"{path} {problem}")
        with _stream(path) as stream:
            yield cast(IO[bytes], stream)
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def scan_text(path: Path) -> Scan:
    """Counts the lines of one file, plain or gzip, and computes the digest of its text.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    stamps = stamps_of([path])
    lines, digest, marked = _scan(path)
    return Scan(lines, digest, [path.name] * marked, stamps)


def _scan(path: Path) -> tuple[int, str, bool]:
    """Returns the number of lines, the SHA-256 of the content, and whether it begins with a byte order mark."""
    digest, lines, first, last, open_line = hashlib.sha256(), 0, b"", b"", 0
    with open_text(path) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            lines += block.count(b"\n")
            ended = block.rfind(b"\n") + 1
            open_line = len(block) - ended + (0 if ended else open_line)
            check_line(open_line, str(path), lines + 1)
            first, last = first or block[:3], block[-1:]
    if not last:
        raise DataError(f"{path} is empty")
    return lines + (last != b"\n"), digest.hexdigest(), first == codecs.BOM_UTF8


def text_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file without their ends; raises DataError at one that is not UTF-8."""
    with open_text(path) as stream:
        for number, raw in enumerate(bounded_lines(stream, str(path)), 1):
            line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
            try:
                yield line.decode().removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError as error:
                raise DataError(f"{path} line {number}: not UTF-8 (byte {error.start + 1} of the line)") from error
