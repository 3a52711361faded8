"""Raw text files to documents: finds the files, cuts them into splits and documents, streams and counts them."""

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, islice, pairwise
from pathlib import Path
from typing import Any, Literal, cast, get_args

from clearhead.data.corpora.mixture import Corpus, check_names
from clearhead.data.corpus import NoSplitError, Stamps, open_text, stamps_of
from clearhead.data.formats.tables import TABLES, is_table, json_lines, table_files
from clearhead.errors import DataError, UsageError, nearest
from clearhead.files import bounded_lines
from clearhead.ranges import Factor, HeldOut, Workers

Split = Literal["train", "valid", "test"]
Separator = Literal["blank_line", "line", "file", "end_of_text", "heading"]

MOST_DOCUMENT = 1 << 27  # bytes of a line, which may be a whole corpus: text8 has 100 MB in one
END_OF_TEXT = "<|endoftext|>"
_ENDINGS = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz", *TABLES)
FilePart = tuple[Path, int, int]  # a file, its first character that belongs to the split, and the end (exclusive)
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
    valid_fraction: HeldOut = 0.1
    """Without validation text, this last part of the training text (counted in characters) is held out for it."""
    separator: Separator = "file"
    """What ends a document of a .txt file; ``end_of_text``: ``<|endoftext|>``; ``heading``: `` = Title = ``."""
    markup: Literal["none", "wikitext"] = "none"
    """``wikitext`` joins `` @-@ `` and the like again; masked models then read ``<unk>`` as the unknown piece."""
    text_field: str = "text"
    """Field of a JSONL line that holds the document."""
    packing: Literal["cross", "isolated"] = "cross"
    """Whether attention reaches back across documents that share a window."""
    cache: bool = True
    """Uses encoded data of an earlier run; false encodes anew."""
    workers: Workers = 0
    """Processes that prepare batches, 0 for none besides the training process; the order stays the same."""
    corpora: tuple[Corpus, ...] = ()
    """Several texts, each a table ``[[data.corpora]]``, for language models; none: the text is in ``--data`` itself."""
    temperature: Factor = 1.0
    """The share of a text is weight * size ** (1 / temperature), over the sum of all: 1: by size, more: more even."""

    def __post_init__(self) -> None:
        check_names(self.corpora)

    def check_single(self) -> None:
        """Raises ValueError if there are several texts, where a model can be trained on one alone."""
        if self.corpora:
            raise ValueError("data.corpora: is for translators and for language models that learn in steps")


@dataclass
class TextReport:
    """What was read and what became of it; the counts leave out what separates the documents."""

    files: list[str]
    part: str = ""
    """Which characters of the files this split has, if ``valid_fraction`` cuts them; else empty."""
    byte_order_marks: list[str] = field(default_factory=list)
    documents: int = 0
    empty: int = 0
    """Documents of nothing but white space, which are skipped."""
    characters: int = 0
    bytes: int = 0
    words: int = 0
    line_feeds: int = 0
    tokens: int = 0
    """All ids of the stream, end marks included."""
    end_marks: int = 0
    unknown: int = 0
    digest: str = ""
    """Identifies the text: SHA-256 of the files, of where they are cut, and of what separates documents."""
    corpora: dict[str, int] = field(default_factory=dict)
    """Documents of each of several texts, by name."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as plain values, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Returns the report as text, line by line, for a terminal."""
        more = f" and {len(self.files) - 3:,} more files" if len(self.files) > 3 else ""
        text = [", ".join(self.files[:3]) + more + (f", {self.part}" if self.part else "")]
        text.append(f"  {self.documents:,} documents, {self.characters:,} characters, {self.words:,} words")
        if self.empty:
            text.append(f"  {self.empty:,} empty documents skipped")
        text += [f"  byte order mark removed from {name}" for name in self.byte_order_marks]
        return [*text, f"  {self.tokens:,} tokens, {self.end_marks:,} of them end marks; {self.unknown:,} unknown"]

    def count(self, text: str) -> bool:
        """Counts a document; returns False if it is empty."""
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
    """The documents of a split, in the order of its files; each pass reads the files again, one document at a time.

    A document is, by ``config.separator``:

    - ``file``: the text of a file, unchanged.
    - ``end_of_text``: what stands between two ``<|endoftext|>`` (or the ends of the file), unchanged.
    - ``line``: a line without its line end.
    - ``blank_line``: the lines between two blank ones, without the last line end.
    - ``heading``: the non-blank lines between two titles, without section headings and the last line end. A title is a
      line `` = Title = `` between blank lines (or at an end of the file); a section heading is a line with more signs
      on each side, `` = = Section = = ``.

    In a JSONL file it is the field ``config.text_field`` of a line, in a table (Parquet, Arrow) of a row. A blank line
    has nothing but white space. With the markup ``wikitext``, `` @-@ ``, `` @,@ `` and `` @.@ `` become a dash, comma
    or dot that joins its neighbours.
    """

    def __init__(self, parts: list[FilePart], *, config: DocumentsConfig, stamps: Stamps, report: TextReport) -> None:
        """Called by ``read_documents``; ``stamps`` were taken before the files were read."""
        self.config, self.digest, self.stamps, self.report = config, report.digest, stamps, report
        self.characters = sum(last - first for _, first, last in parts)
        self._parts, self._blank_report = parts, report

    def __iter__(self) -> Iterator[str]:
        """Yields the documents that are not empty; after the last one ``report`` has all counts of the text.

        Raises:
            DataError: a line is not JSON or without the field.
        """
        report = self.report = replace(self._blank_report)
        for path, first, last in self._parts:
            lines = _lines_inside(path, first, last)
            texts: Iterator[str]
            if _is_jsonl(path):
                texts = (string_field(json_record(line, where), self.config.text_field, where) for where, line in lines)
            else:
                texts = _divide((line for _, line in lines), self.config.separator)
            if self.config.markup == "wikitext":
                texts = (_JOINED.sub(r"\1", text) for text in texts)
            yield from filter(report.count, texts)


def read_documents(data: Path, *, split: Split, config: DocumentsConfig) -> Documents:
    """Finds and checks the text of a split.

    In a folder a split is STEM.txt, STEM.jsonl (each plain or .gz), or a folder STEM of such files, read in the order
    of their names. If ``data`` is a file, or a folder without splits, all of its text is training text. Without
    validation text, ``valid_fraction`` cuts some from the end of the training text. The cut is a position in characters
    and ignores the borders of documents, so that with the separator ``file`` both parts together are the whole text.

    Raises:
        DataError: text is missing, empty, binary, not UTF-8 or damaged; the message names the nearest file.
    """
    if not data.exists():
        hint = nearest(data.name, [path.name for path in data.parent.glob("*")])
        raise DataError(f"data {str(data)!r} does not exist{hint if 'did you mean' in hint else ''}")
    stems = {"train": config.train, "valid": config.valid, "test": config.test}
    files = {name: _find(data, stem) for name, stem in stems.items()}
    if files[split] and (split != "train" or files["valid"]):
        return _scan(files[split], config)
    train_files = files["train"] if any(files.values()) else _text_files(data)
    if train_files and split != "test" and config.valid_fraction:
        return _scan(train_files, config, cut=split)
    missing = "valid" if train_files and split == "train" else split
    fix = f"add {stems[missing]}.txt, {stems[missing]}.jsonl (each plain or .gz) or a folder {stems[missing]}"
    if train_files and missing == "valid":
        fix += ", or set data.valid_fraction = 0.1"
    hint = nearest(f"{stems[missing]}.txt", [path.name for path in data.iterdir()]) if data.is_dir() else ""
    raise NoSplitError(f"data {str(data)!r} has no {missing} split: {fix}{hint}")


def _find(data: Path, stem: str) -> list[Path]:
    """Returns the files of a split; an empty list if it has none."""
    paths = [path for ending in _ENDINGS if (path := data / f"{stem}{ending}").is_file()]
    paths += [data / stem] * (data / stem).is_dir()
    if len(paths) > 1:
        raise DataError(f"{paths[0]} and {paths[1].name} both exist: keep one of them")
    return _text_files(paths[0]) if paths else []


def _text_files(data: Path) -> list[Path]:
    """Returns the text files of a folder, sorted by name; or ``data`` itself if it is one."""
    if data.is_dir() and is_table(data):
        return table_files(data)
    paths = sorted(data.iterdir()) if data.is_dir() else [data]
    text_files = [path for path in paths if path.name.endswith(_ENDINGS) and path.is_file()]
    if not text_files:
        problem = "holds no file that ends" if data.is_dir() else "must end"
        raise DataError(f"data {str(data)!r} {problem} in {', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]}")
    return text_files


def _scan(files: list[Path], config: DocumentsConfig, *, cut: str = "") -> Documents:
    """Reads the files once to check, count and digest them; ``cut`` names the part, train or valid, to keep of them."""
    digest, ends, stamps = hashlib.sha256(), [0], stamps_of(files)
    marked = [path.name for path in files if not is_table(path) and _is_marked(path)]
    for path in files:
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


def _is_marked(path: Path) -> bool:
    """Whether a file begins with a byte order mark."""
    with open_text(path) as stream:
        return bool(stream.read(3) == codecs.BOM_UTF8)


def read_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file with their line ends, the rows of a table as JSON; a byte order mark is removed.

    Raises:
        DataError: the file cannot be read, or a line is not UTF-8 or has a NUL byte.
    """
    if is_table(path):
        yield from json_lines(path)
        return
    with open_text(path) as stream:
        for number, raw in enumerate(bounded_lines(stream, str(path), MOST_DOCUMENT), 1):
            if b"\0" in raw:
                raise DataError(f"{path} line {number}: has a NUL byte: binary, or UTF-16 in place of UTF-8")
            try:
                line = (raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw).decode()
            except UnicodeDecodeError as error:
                raise DataError(f"{path} line {number}: not UTF-8 (byte {error.start + 1} of the line)") from error
            yield line


def _lines_inside(path: Path, first: int, last: int) -> Iterator[tuple[str, str]]:
    """Yields the place ("FILE line N") and the text of each line between two characters of the file.

    A line at the border is cut; a line of JSONL stays whole and belongs where its first character is.
    """
    at = 0  # characters before the line
    for number, line in enumerate(read_lines(path), 1):
        inside = line[max(0, first - at) : max(0, last - at)]
        if _is_jsonl(path):
            inside = line if first <= at < last and not line.isspace() else ""
        if inside:
            yield f"{path} line {number}", inside
        at += len(line)


def _divide(lines: Iterator[str], separator: Separator) -> Iterator[str]:
    """Joins the lines of a file to documents; see ``Documents``."""
    match separator:
        case "file":  # joined in blocks: a list of all the lines would take several times the text
            yield "".join(iter(lambda: "".join(islice(lines, 10_000)), ""))
        case "line":
            yield from map(_without_end, lines)
        case "blank_line":
            blocks = groupby(lines, key=str.isspace)
            yield from (_without_end("".join(block)) for blank, block in blocks if not blank)
        case "end_of_text":
            open_parts: list[str] = []  # of the document that has not ended yet
            for line in lines:
                *ends, rest = line.split(END_OF_TEXT)
                for end in ends:
                    yield "".join([*open_parts, end])
                    open_parts.clear()
                open_parts.append(rest)
            if any(open_parts):
                yield "".join(open_parts)
        case "heading":
            yield from _articles(lines)


def _articles(lines: Iterator[str]) -> Iterator[str]:
    """Yields what stands between titles, without headings and blank lines."""
    article: list[str] = []
    for number, (line, kind) in enumerate(_headings(lines)):
        if kind == "title" and number:  # before the very first line there is no document
            yield _without_end("".join(article))
            article.clear()
        elif kind == "text":
            article.append(line)
    yield _without_end("".join(article))


def _headings(lines: Iterator[str]) -> Iterator[tuple[str, Literal["title", "section", "text"]]]:
    """Yields the lines that are more than white space, and what each is."""
    before = "\n"
    ahead = next(lines, "")
    while line := ahead:
        ahead = next(lines, "")
        is_apart = before.isspace() and (not ahead or ahead.isspace())
        before = line
        if line.isspace():
            continue
        if is_apart and _TITLE.fullmatch(line):
            yield line, "title"
        else:
            yield line, "section" if _SECTION.fullmatch(line) else "text"


def _without_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _is_jsonl(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".jsonl") or is_table(path)


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the fields of an object; a name that is there twice would lose a value."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"field {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return fields


def json_record(line: str, where: str) -> dict[str, Any]:
    """Returns the fields of a line of JSONL; none if the line is not an object.

    Args:
        line: JSON.
        where: place of the line, for errors.

    Raises:
        DataError: the line is not JSON.
    """
    try:
        record = json.loads(line, object_pairs_hook=_fields)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({getattr(error, 'msg', error)})") from error
    return record if isinstance(record, dict) else {}


def string_field(fields: dict[str, Any], name: str, where: str) -> str:
    """Returns the field ``name``, which must hold text; ``where`` is the place of the line, for errors.

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
    """Finds the text of the split that a user has named on the command line.

    Raises:
        DataError: the text cannot be used.
        UsageError: there is no such split.
    """
    if split not in get_args(Split):
        raise UsageError(f"--split {split!r}: must be one of {', '.join(get_args(Split))} for a language model")
    return read_documents(data, split=cast(Split, split), config=config)
