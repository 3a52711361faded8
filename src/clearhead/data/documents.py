"""Raw text files to documents: found, cut into splits, divided as stated, read in a stream, and counted."""

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, islice, pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from annotated_types import Ge, Le

from clearhead.data.corpus import Stamps, open_text, stamps_of
from clearhead.errors import DataError, UsageError, nearest

Split = Literal["train", "valid", "test"]
Separator = Literal["blank_line", "line", "file", "end_of_text", "heading"]

END_OF_TEXT = "<|endoftext|>"
ENDINGS = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz")
FilePart = tuple[Path, int, int]  # a file and which of its characters: from the first number to before the second
_SURROGATE = re.compile("[\ud800-\udfff]")
_TITLE = re.compile(r" ?= (?!= )\S.*(?<! =) =\s*")
_SECTION = re.compile(r" ?= (?:= )+\S.* =(?: =)+\s*")
_JOINED = re.compile(r" @([-,.])@ ")


@dataclass(frozen=True)
class DocumentsConfig:
    """Which files are read, and what in them is a document."""

    train: str = "train"
    """Stem of the training text: ``train.txt``, ``train.jsonl`` (each plain or .gz) or a folder ``train`` of such."""
    valid: str = "valid"
    """Stem of the validation text."""
    test: str = "test"
    """Stem of the test text."""
    valid_fraction: Annotated[float, Ge(0), Le(0.5)] = 0.1
    """Where there is no validation text: the last part of the training text, by position in characters."""
    separator: Separator = "file"
    """What ends a document of a .txt file; ``end_of_text``: ``<|endoftext|>``; ``heading``: `` = Title = ``."""
    markup: Literal["none", "wikitext"] = "none"
    """``wikitext`` undoes `` @-@ `` and the like; for masked pieces, ``<unk>`` is then the unknown piece."""
    text_field: str = "text"
    """Field of a JSONL line that holds the document."""
    packing: Literal["cross", "isolated"] = "cross"
    """Whether attention reaches back across documents that share a window."""
    cache: bool = True
    """Uses encoded data of an earlier run; false encodes anew."""
    workers: Annotated[int, Ge(0)] = 0
    """Processes that prepare batches, 0 for none besides the training process; the order stays the same."""


@dataclass
class TextReport:
    """What was read and what became of it; the text's counts are without what separates the documents."""

    files: list[str]
    part: str = ""
    """Which characters of the files, where ``valid_fraction`` cuts them."""
    byte_order_marks: list[str] = field(default_factory=list)
    documents: int = 0
    empty: int = 0
    """Documents of white space alone, which are skipped."""
    characters: int = 0
    bytes: int = 0
    words: int = 0
    line_feeds: int = 0
    tokens: int = 0
    """All ids of the stream, end marks included."""
    end_marks: int = 0
    unknown: int = 0
    digest: str = ""
    """Tells the text from all other: SHA-256 of the files, where they are cut, and how documents are told apart."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as plain values, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Returns the report as text, line by line, for a terminal."""
        more = f" and {len(self.files) - 3:,} more files" if len(self.files) > 3 else ""
        text = [", ".join(self.files[:3]) + more + (f", {self.part}" if self.part else "")]
        text += [f"  {self.documents:,} documents, {self.characters:,} characters, {self.words:,} words"]
        text += [f"  {self.empty:,} empty documents skipped"] if self.empty else []
        text += [f"  byte order mark removed from {name}" for name in self.byte_order_marks]
        return [*text, f"  {self.tokens:,} tokens, {self.end_marks:,} of them end marks; {self.unknown:,} unknown"]

    def count(self, text: str) -> bool:
        """Adds a document; returns False for an empty one."""
        if not text or text.isspace():
            self.empty += 1
            return False
        self.documents += 1
        self.characters += len(text)
        self.bytes += len(text.encode())
        self.words += len(text.split())
        self.line_feeds += text.count("\n")
        return True


class Documents:
    """The documents of a split, in the order of its files; each pass reads them anew and holds one at a time.

    What is a document: with ``file`` the text of a file, unchanged; with ``end_of_text`` what stands between two marks
    (or the ends of a file), unchanged; with ``line`` a line without its end; with ``blank_line`` a block of lines that
    are more than white space, with the line ends between them and without the last; with ``heading`` the lines between
    two titles that are more than white space, without section headings and the last line end; of JSONL the field. A
    title is a line `` = Title = `` between lines of white space (or at an end of the file), a section heading a line
    with more signs on each side, `` = = Section = = ``. Where ``markup`` is ``wikitext`` the dash, comma and dot of
    `` @-@ ``, `` @,@ `` and `` @.@ `` join what stands around them.
    """

    def __init__(self, parts: list[FilePart], *, config: DocumentsConfig, stamps: Stamps, report: TextReport) -> None:
        """See ``read_documents``, which makes them; ``stamps`` are of the files before they were read."""
        self.config, self.digest, self.stamps, self.report = config, report.digest, stamps, report
        self.characters = sum(last - first for _, first, last in parts)
        self._parts, self._blank_report = parts, report

    def __iter__(self) -> Iterator[str]:
        """Yields the documents that are not empty; after the last one the text's part of ``report`` is complete.

        Raises:
            DataError: a line is not JSON or without the field.
        """
        report = self.report = replace(self._blank_report)
        for path, first, last in self._parts:
            lines = _lines_inside(path, first, last)
            found: Iterator[str]
            if _is_jsonl(path):
                found = (text_of(record(line, where), self.config.text_field, where) for where, line in lines)
            else:
                found = _divide((line for _, line in lines), self.config.separator)
            if self.config.markup == "wikitext":
                found = (_JOINED.sub(r"\1", text) for text in found)
            yield from filter(report.count, found)


def read_documents(data: Path, *, split: Split, config: DocumentsConfig) -> Documents:
    """Finds and checks the text of a split.

    In a folder a split is STEM.txt, STEM.jsonl (each plain or .gz), or a folder STEM of such files, read in the order
    of their names. Where there is no validation text, ``valid_fraction`` cuts it from the end of the training text.
    That is the train split, or, of ``data`` that is a file or a folder without splits, all the text. The cut counts
    characters before documents are told apart, so that with the separator ``file`` both parts together are the text.

    Raises:
        DataError: text is missing, empty, binary, not UTF-8 or damaged; the message names the nearest file.
    """
    if not data.exists():
        hint = nearest(data.name, [path.name for path in data.parent.glob("*")])
        raise DataError(f"data {str(data)!r} does not exist{hint if 'did you mean' in hint else ''}")
    stems = {"train": config.train, "valid": config.valid, "test": config.test}
    found = {name: _find(data, stem) for name, stem in stems.items()}
    if found[split] and (split != "train" or found["valid"]):
        return _scan(found[split], config)
    text = found["train"] if any(found.values()) else _text_files(data)
    if text and split != "test" and config.valid_fraction:
        return _scan(text, config, cut=split)
    missing = "valid" if text and split == "train" else split
    fix = f"add {stems[missing]}.txt, {stems[missing]}.jsonl (each plain or .gz) or a folder {stems[missing]}"
    fix += ", or set data.valid_fraction = 0.1" if text and missing == "valid" else ""
    hint = nearest(f"{stems[missing]}.txt", [path.name for path in data.iterdir()]) if data.is_dir() else ""
    raise DataError(f"data {str(data)!r} has no {missing} split: {fix}{hint}")


def _find(data: Path, stem: str) -> list[Path]:
    """Returns the files of a split; none if it is not there."""
    found = [path for ending in ENDINGS if (path := data / f"{stem}{ending}").is_file()]
    found += [data / stem] if (data / stem).is_dir() else []
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1].name} both exist: keep one of them")
    return _text_files(found[0]) if found else []


def _text_files(data: Path) -> list[Path]:
    """Returns the text files of a folder by name, or the file itself."""
    files = sorted(data.iterdir()) if data.is_dir() else [data]
    found = [path for path in files if path.name.endswith(ENDINGS) and path.is_file()]
    if not found:
        problem = "holds no file that ends" if data.is_dir() else "must end"
        raise DataError(f"data {str(data)!r} {problem} in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    return found


def _scan(files: list[Path], config: DocumentsConfig, *, cut: str = "") -> Documents:
    """Reads the files once: are they text, how long, which; ``cut`` keeps the train or valid part of them."""
    digest, ends, marked, stamps = hashlib.sha256(), [0], list[str](), stamps_of(files)
    for path in files:
        with open_text(path) as stream:
            marked += [path.name] if stream.read(3) == codecs.BOM_UTF8 else []
        content, characters = hashlib.sha256(bytes([_is_jsonl(path)])), 0
        for line in read_lines(path):
            content.update(line.encode())
            characters += len(line)
        if not characters:
            raise DataError(f"{path} is empty")
        digest.update(content.digest())
        ends.append(ends[-1] + characters)
    first, last = 0, ends[-1]
    if cut:
        border = int(last * (1 - config.valid_fraction))
        if not 0 < border < last:
            names = ", ".join(map(str, files))
            raise DataError(
                f"{names}: {last} characters, too few to keep data.valid_fraction = {config.valid_fraction}"
            )
        first, last = (0, border) if cut == "train" else (border, last)
    parts = [
        (path, max(first - start, 0), min(last, end) - start)
        for path, (start, end) in zip(files, pairwise(ends), strict=True)
        if first < end and start < last
    ]
    rule = [config.separator, config.text_field, *([] if config.markup == "none" else [config.markup])]
    digest.update(json.dumps([first, last, *rule]).encode())
    part = f"characters {first + 1:,} to {last:,} of {ends[-1]:,}" if cut else ""
    report = TextReport([path.name for path in files], part, marked, digest=digest.hexdigest())
    return Documents(parts, config=config, stamps=stamps, report=report)


def read_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file with their ends; a byte order mark in front is removed.

    Raises:
        DataError: the file cannot be read, or a line is not UTF-8 or has a NUL byte.
    """
    with open_text(path) as stream:
        for number, raw in enumerate(stream, 1):
            if b"\0" in raw:
                raise DataError(f"{path} line {number}: has a NUL byte: binary, or UTF-16 in place of UTF-8")
            try:
                line = (raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw).decode()
            except UnicodeDecodeError as error:
                raise DataError(f"{path} line {number}: not UTF-8 (byte {error.start + 1} of the line)") from error
            yield line


def _lines_inside(path: Path, first: int, last: int) -> Iterator[tuple[str, str]]:
    """Yields where each line stands and what of it is inside: of JSON all, if its first character is."""
    at = 0
    for number, line in enumerate(read_lines(path), 1):
        inside = line[max(0, first - at) : max(0, last - at)]
        if _is_jsonl(path):
            inside = line if first <= at < last and not line.isspace() else ""
        if inside:
            yield f"{path} line {number}", inside
        at += len(line)


def _divide(lines: Iterator[str], separator: Separator) -> Iterator[str]:
    match separator:
        case "file":  # joined in blocks: a list of all the lines would take several times the text
            yield "".join(iter(lambda: "".join(islice(lines, 10_000)), ""))
        case "line":
            yield from map(_without_end, lines)
        case "blank_line":
            blocks = groupby(lines, key=str.isspace)
            yield from (_without_end("".join(block)) for blank, block in blocks if not blank)
        case "end_of_text":
            held: list[str] = []
            for line in lines:
                *ended, rest = line.split(END_OF_TEXT)
                for text in ended:
                    yield "".join([*held, text])
                    held.clear()
                held.append(rest)
            if any(held):
                yield "".join(held)
        case "heading":
            yield from _articles(lines)


def _articles(lines: Iterator[str]) -> Iterator[str]:
    """Yields what stands between titles, without headings and blank lines."""
    held: list[str] = []
    for number, (line, kind) in enumerate(_headings(lines)):
        if kind == "title" and number:  # before the very first line there is no document
            yield _without_end("".join(held))
            held.clear()
        elif kind == "text":
            held.append(line)
    yield _without_end("".join(held))


def _headings(lines: Iterator[str]) -> Iterator[tuple[str, Literal["title", "section", "text"]]]:
    """Yields the lines that are more than white space, and what each is."""
    after = "\n"
    ahead = next(lines, "")
    while line := ahead:
        ahead = next(lines, "")
        apart = after.isspace() and (not ahead or ahead.isspace())
        after = line
        if not line.isspace():
            title = apart and _TITLE.fullmatch(line)
            yield line, "title" if title else "section" if _SECTION.fullmatch(line) else "text"


def _without_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _is_jsonl(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".jsonl")


def record(line: str, where: str) -> dict[str, Any]:
    """Returns the fields of a line of JSON, none where it is no object; ``where`` it stands is for errors.

    Raises:
        DataError: the line is not JSON.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({getattr(error, 'msg', error)})") from error
    return found if isinstance(found, dict) else {}


def text_of(fields: dict[str, Any], name: str, where: str) -> str:
    """Returns a field that holds text.

    Raises:
        DataError: it is missing, is not a string or has a lone surrogate.
    """
    text = fields.get(name)
    if not isinstance(text, str):
        problem = "is not a string" if name in fields else f"is missing{nearest(name, fields)}"
        raise DataError(f"{where}: field {name!r} {problem}")
    if _SURROGATE.search(text):
        raise DataError(f"{where}: field {name!r} has a lone surrogate, which is no character")
    return text


def split_documents(data: Path, split: str, config: DocumentsConfig) -> Documents:
    """Finds the text of a split that a user named.

    Raises:
        DataError: the text cannot be used.
        UsageError: there is no such split.
    """
    if split not in get_args(Split):
        raise UsageError(f"--split {split!r}: must be one of {', '.join(get_args(Split))} for a language model")
    return read_documents(data, split=cast(Split, split), config=config)
