"""Encoded parallel text, memory-mapped: built line by line, cached under a digest of everything it depends on."""

import contextlib
import dataclasses
import itertools
import mmap
from array import array
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.data.corpora.context import Pair
from clearhead.data.corpora.report import CorpusReport
from clearhead.data.corpus import DataConfig, PairFilter, ParallelFiles, Scan, check_unchanged
from clearhead.data.encoded import map_file, open_or_build, open_sealed, seal
from clearhead.errors import DataError
from clearhead.progress import Progress, silent
from clearhead.text.special import SpecialIds
from clearhead.text.tokenizer import Tokenizer

_FORMAT = 2
CHUNK_LINES = 20_000


class NoPairsError(DataError):
    """The filters leave no pair of a text."""


class PairStore:
    """Read access to encoded pairs; ids are without begin and end marks. Pickles as its path.

    The files ``ids`` and ``text`` hold source and target of pair 0, of pair 1, ...; ``context``, if it is there, what
    is read before the source of each; ``*.ends`` hold the end of each.
    """

    def __init__(self, path: Path) -> None:
        """Opens what ``prepare`` wrote at ``path``; raises DataError if it is damaged."""
        meta = open_sealed(path, version=_FORMAT)
        self.path, self.report = path, CorpusReport.from_dict(meta["report"])
        self.special = SpecialIds(**meta.get("special", {}))
        self._maps = {name: map_file(path / name) for name in meta["types"]}
        self._arrays = {name: np.frombuffer(self._maps[name], kind) for name, kind in meta["types"].items()}
        self.line_numbers: NDArray[np.int64] = self._arrays["lines"]

    def __reduce__(self) -> tuple[Any, ...]:
        return PairStore, (self.path,)

    def __len__(self) -> int:
        return len(self.line_numbers)

    def src(self, index: int) -> NDArray[Any]:
        """Returns the source ids of a pair, behind its context; a view of the mapped file where it has none."""
        context, ids = self.context(index), self.line(index)
        return np.concatenate([np.array(context, ids.dtype), ids]) if context else ids

    def line(self, index: int) -> NDArray[Any]:
        """Returns the source ids of a pair without its context, a view of the mapped file."""
        return self._row("ids", 2 * index)

    def context(self, index: int) -> list[int]:
        """Returns what is read before the source of a pair, the mark included; empty: nothing."""
        return self._row("context", index).tolist() if "context" in self._arrays else []

    def tgt(self, index: int) -> NDArray[Any]:
        """Returns the target ids of a pair, a view of the mapped file."""
        return self._row("ids", 2 * index + 1)

    def lead(self, index: int) -> list[int]:
        """Returns all that stands before the source line of a pair: its context; see ``JoinedPairs``."""
        return self.context(index)

    def text(self, index: int) -> tuple[str, str]:
        """Returns the two lines of a pair; the store must have been built with ``keep_text``."""
        src, tgt = (self._row("text", 2 * index + side).tobytes().decode() for side in (0, 1))
        return src, tgt

    @cached_property
    def lengths(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Number of pieces of every source, context included, and of every target."""
        src, tgt = self.line_lengths
        if "context" not in self._arrays:
            return src, tgt
        return src + np.diff(self._arrays["context.ends"], prepend=0).astype(np.int32), tgt

    @cached_property
    def line_lengths(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Number of pieces of every source without its context, and of every target."""
        both = np.diff(self._arrays["ids.ends"], prepend=0).astype(np.int32)
        return both[::2].copy(), both[1::2].copy()

    def release(self) -> None:
        """Releases the pages read so far, so that they no longer count as memory of this process."""
        for mapped in self._maps.values():
            mapped.madvise(mmap.MADV_DONTNEED)

    def _row(self, column: str, row: int) -> NDArray[Any]:
        ends = self._arrays[f"{column}.ends"]
        return self._arrays[column][ends[row - 1] if row else 0 : ends[row]]


def prepare(
    files: ParallelFiles,
    *,
    src: Tokenizer,
    tgt: Tokenizer,
    config: DataConfig,
    cache_dir: Path,
    scan: Scan | None = None,
    keep_text: bool = False,
    progress: Progress = silent,
) -> PairStore:
    """Encodes two parallel files, or opens the result of an earlier run on the same text, tokenizers and filters.

    Args:
        files: the text.
        src: source tokenizer.
        tgt: target tokenizer; may be the same object.
        config: filters and over-long policy.
        cache_dir: folder of all encoded data; each corpus gets a folder in it.
        scan: the result of ``files.scan()``; None scans now.
        keep_text: stores the text too, for BPE-dropout, which encodes it again in each epoch.
        progress: called with (lines done, lines in all).

    Raises:
        NoPairsError: the filters leave no pair.
        UsageError: lines are to be read with the one before, and the vocabulary has no piece for that.
        DataError: the text cannot be used, or the disk is full.
    """
    scan = scan or files.scan()
    key = [_FORMAT, scan.digest, src.fingerprint, tgt.fingerprint, keep_text]
    key += [config.max_len, config.overlong, config.max_ratio, config.drop_duplicates]
    if filters := config.filters.key:
        key += [filters, *files.languages]
    if config.context:
        key += [f"context {config.context}"]

    def write(folder: Path) -> None:
        pairs = PairFilter(config, files=files, src=src, tgt=tgt)
        pairs.report.byte_order_marks, pairs.report.digest = scan.byte_order_marks, scan.digest
        types = {"ids": "int32" if max(src.vocab_size, tgt.vocab_size) > 1 << 16 else "uint16"}
        if config.context:
            types["context"] = types["ids"]
        if keep_text:
            types["text"] = "uint8"
        with _Columns(folder, types) as columns:
            lines = iter(files)
            while chunk := list(itertools.islice(lines, CHUNK_LINES)):
                columns.write(pairs(chunk))
                progress(pairs.report.read, scan.lines)
        check_unchanged(scan.stamps)
        report = pairs.finish()
        if not report.pairs:
            raise NoPairsError("no pair of lines is left to use: " + "; ".join(line.strip() for line in report.lines()))
        types = {name: kind for name, kind in columns.types.items() if (folder / name).stat().st_size}
        meta = {"types": types, "report": report.as_dict(), "special": dataclasses.asdict(tgt.ids)}
        seal(folder, meta, version=_FORMAT)

    return open_or_build(key, cache_dir, reuse=config.cache, read=PairStore, write=write)


class _Columns(contextlib.ExitStack):
    """Writes the files of a store."""

    def __init__(self, folder: Path, types: dict[str, str]) -> None:
        super().__init__()
        self._end = dict.fromkeys(types, 0)
        self.types = types | {f"{name}.ends": "int64" for name in types} | {"lines": "int64"}
        self._files = {name: self.enter_context((folder / name).open("wb")) for name in self.types}

    def write(self, pairs: list[Pair]) -> None:
        """Appends pairs."""
        code = np.dtype(self.types["ids"]).char
        self._append("ids", [array(code, ids).tobytes() for pair in pairs for ids in (pair.src_ids, pair.tgt_ids)])
        if "context" in self._end:
            self._append("context", [array(code, pair.context).tobytes() for pair in pairs])
        if "text" in self._end:
            self._append("text", [text.encode() for pair in pairs for text in (pair.src, pair.tgt)])
        self._files["lines"].write(np.array([pair.line for pair in pairs], np.int64).tobytes())

    def _append(self, column: str, rows: list[bytes]) -> None:
        ends = np.cumsum([len(row) // np.dtype(self.types[column]).itemsize for row in rows], dtype=np.int64)
        self._files[column].write(b"".join(rows))
        self._files[f"{column}.ends"].write((ends + self._end[column]).tobytes())
        self._end[column] += int(ends[-1]) if rows else 0
