"""A corpus that is made of the lines of one file: a folder of two files, written so that it can be gone on with."""

import codecs
import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from clearhead.brief import Brief
from clearhead.data.corpus import check_unchanged, open_text, scan_text
from clearhead.errors import DataError, UsageError
from clearhead.files import bounded_lines, read_json, sync, write_whole
from clearhead.progress import Progress, silent
from clearhead.runs.lock import locked

RECORD = "corpus.json"
SUFFIX = ".unfinished"
STEM = "train"


class Answer(NamedTuple):
    """What a line has become."""

    text: str
    """On one line; empty if there is nothing."""
    problem: str = ""
    """What is to be counted of it, such as ``too long``; empty: nothing."""


@dataclass(frozen=True)
class MadeCorpus(Brief):
    """What a folder holds, and how far it is; ``corpus.json`` has the same."""

    of: int
    """Lines in all."""
    settings: dict[str, Any]
    """All that its text follows from."""
    lines: int = 0
    """That are done."""
    empty: int = 0
    """Lines of nothing but white space, whose other side is empty too."""
    problems: dict[str, int] = field(default_factory=dict)
    """How many lines have a problem, by problem."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each file."""


Make = Callable[[list[str], int, str], list[Answer]]
"""(texts of some lines, number of the first one from 0, text of the line before it) -> what each becomes."""


def make_corpus(
    mono: Path,
    out: Path,
    make: Make,
    *,
    given: str,
    made: str,
    settings: Mapping[str, Any],
    chunk: int,
    progress: Progress = silent,
) -> MadeCorpus:
    """Writes the lines of a file and what becomes of each to two files in a folder, line N beside line N.

    As long as it is not finished the folder has ``.unfinished`` behind its name. It is brought to the disk after each
    chunk, so that a call with the same arguments after one that was killed goes on behind the last chunk, and ends with
    the same bytes. A folder that is finished stays as it is.

    Args:
        mono: text, plain or .gz. A line that is not UTF-8 is empty on both sides, and counted.
        out: the folder, which must not be there, or be what these arguments make.
        make: what becomes of lines.
        given: language of the text: the ending of the file of its lines.
        made: that of what they become.
        settings: what ``make`` depends on, as JSON values.
        chunk: lines that ``make`` gets at a time.
        progress: called with (lines done, lines in all), first where the work begins.

    Raises:
        UsageError: the folder has something else in it, or another process works on it.
        DataError: the text cannot be used, or the disk is full.
    """
    scan = scan_text(mono)
    asked = MadeCorpus(scan.lines, {**settings, "text": scan.digest, "given": given, "made": made, "buffer": chunk})
    if (out / RECORD).is_file():
        finished = _known(out, asked)
        progress(finished.lines, finished.of)
        return finished
    if out.exists():
        raise UsageError(f"--out {str(out)!r}: exists, and is not a folder that this verb has made; name another")
    place = out.with_name(out.name + SUFFIX)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with locked(place):
            corpus = _known(place, asked) if (place / RECORD).is_file() else asked
            progress(corpus.lines, corpus.of)
            corpus = _Writer(place, given, made).go_on(corpus, mono, make, chunk, progress)
            check_unchanged(scan.stamps)
        place.rename(out)
        sync(out.parent)
    except OSError as error:
        raise DataError(f"--out {str(out)!r} cannot be written: {error.strerror}") from error
    return corpus


def _known(folder: Path, asked: MadeCorpus) -> MadeCorpus:
    """Returns how far a folder is; raises UsageError if it was begun with other settings."""
    tree = read_json(folder / RECORD)
    try:
        corpus = MadeCorpus(**tree)
        was, now = {"lines": corpus.of, **corpus.settings}, {"lines": asked.of, **asked.settings}
    except TypeError as error:
        raise UsageError(f"--out {str(folder)!r}: its {RECORD} is of another kind; name another folder") from error
    if other := next((key for key in {**was, **now} if was.get(key) != now.get(key)), None):
        raise UsageError(
            f"--out {str(folder)!r}: was begun with {other} = {was.get(other)!r}, not {now.get(other)!r}; "
            "name another folder, or delete it"
        )
    return corpus


class _Writer:
    """Writes the two files and the record of a folder."""

    def __init__(self, folder: Path, given: str, made: str) -> None:
        self._folder = folder
        self._names = [f"{STEM}.{given}", f"{STEM}.{made}"]

    def go_on(self, corpus: MadeCorpus, mono: Path, make: Make, chunk: int, progress: Progress) -> MadeCorpus:
        """Writes what is missing."""
        empty, problems = corpus.empty, Counter(corpus.problems)
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(self._opened(name, corpus.sizes.get(name, 0))) for name in self._names]
            lines = islice(_lines(mono), max(corpus.lines - 1, 0), None)
            before = (next(lines, "") or "") if corpus.lines else ""
            while texts := list(islice(lines, chunk)):
                readable = [text or "" for text in texts]
                answers = make(readable, corpus.lines, before)
                before = readable[-1]
                problems.update(answer.problem for answer in answers if answer.problem)
                problems.update("not UTF-8" for text in texts if text is None)
                empty += sum(text is not None and not text.strip() for text in texts)
                for file, rows in zip(files, (readable, [answer.text for answer in answers]), strict=True):
                    file.write("".join(f"{row}\n" for row in rows).encode())
                    file.flush()
                    os.fsync(file.fileno())
                sizes = {name: file.tell() for name, file in zip(self._names, files, strict=True)}
                done = corpus.lines + len(texts)
                corpus = MadeCorpus(corpus.of, corpus.settings, done, empty, dict(sorted(problems.items())), sizes)
                self._save(corpus)
                progress(done, corpus.of)
        return corpus

    @contextlib.contextmanager
    def _opened(self, name: str, size: int) -> Iterator[IO[bytes]]:
        """Opens a file behind its first ``size`` bytes; what a killed process wrote there is cut off."""
        path = self._folder / name
        if path.is_symlink():
            raise UsageError(f"{str(path)!r} is a link: delete it")
        path.touch()
        if path.stat().st_size < size:
            raise DataError(f"{str(path)!r} is shorter than its {RECORD} says: delete the folder, and begin anew")
        with path.open("r+b") as file:
            file.truncate(size)
            file.seek(size)
            yield file

    def _save(self, corpus: MadeCorpus) -> None:
        text = json.dumps(asdict(corpus), ensure_ascii=False, indent=1)
        write_whole(self._folder / RECORD, f"{text}\n".encode())


def _lines(path: Path) -> Iterator[str | None]:
    """Yields the lines of a text without their ends; None for one that is not UTF-8."""
    with open_text(path) as stream:
        for number, raw in enumerate(bounded_lines(stream, str(path))):
            line = raw.removeprefix(codecs.BOM_UTF8) if number == 0 else raw
            try:
                yield line.decode().removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError:
                yield None
