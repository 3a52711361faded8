"""Labelled text from TSV, CSV and JSONL: one or two texts a line and a class or number, checked and counted."""

import csv
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from clearhead.data.corpus import NoSplitError
from clearhead.data.documents import Split, json_record, read_lines, string_field
from clearhead.data.formats.tables import TABLES, is_table, table_files
from clearhead.data.labels.classes import check_classes, check_missing, check_no_header, is_number, known_class, short
from clearhead.data.labels.labels import Labels
from clearhead.errors import DataError, UsageError, nearest
from clearhead.ranges import Folds, HeldOut, Workers
from clearhead.text.overlong import OverlongLine

MOST_FIELD = 1 << 30  # characters of a CSV field
_ENDINGS = (".tsv", ".tsv.gz", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz", *TABLES)


@dataclass(frozen=True)
class LabelledConfig:
    """Which files are read, and where in them the texts and labels are."""

    train: str = "train"
    """Stem of the training lines: ``train.tsv``, ``train.csv`` or ``train.jsonl``, each plain or .gz,
    ``train.parquet`` or ``train.arrow``, or a folder ``train`` of a data set."""
    valid: str = "valid"
    """Stem of the validation lines."""
    test: str = "test"
    """Stem of the test lines."""
    valid_fraction: HeldOut = 0.1
    """Without validation lines, this share of the training lines is held out for them, the same every time."""
    kind: Literal["classes", "number"] = "classes"
    """``classes``: each different label is a class; ``number``: labels are numbers to predict."""
    label_field: str = "label"
    """Column of a CSV file, or field of a JSONL line, that holds the label; a TSV line begins with the label."""
    text_field: str = "text"
    """Column or field that holds the text."""
    pair_field: str = "text_b"
    """Column or field that holds the second text of a pair."""
    overlong: OverlongLine = "truncate"
    """Policy for lines that are too long; ``truncate`` cuts the end of the longer text until both fit."""
    workers: Workers = 0
    """Processes that prepare batches, 0 for none besides the training process; the order stays the same."""
    folds: Folds = 0
    """Cuts the training lines into this many folds with equal shares of each class; fold number ``fold`` replaces the
    validation lines. 0 cuts nothing."""
    fold: Folds = 0
    """Which of the folds is the validation set, from 0."""

    def __post_init__(self) -> None:
        if self.folds == 1 or self.fold >= max(self.folds, 1):
            raise ValueError(f"folds = {self.folds}, fold = {self.fold}: folds must be 0 or at least 2, fold below it")
        names = [self.label_field, self.text_field, self.pair_field]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"label_field, text_field, pair_field: must differ, {twice!r} is there twice")


class Line(NamedTuple):
    """A label with its text or two texts, and the place it was read from."""

    where: str
    label: str
    text: str
    pair: str | None


@dataclass(frozen=True)
class LabelledText:
    """The lines of a split, in the order of the file."""

    lines: list[Line]
    classes: tuple[str, ...]
    """The labels of the training lines, sorted; empty if labels are numbers."""
    file: str
    blank: int
    """Number of blank lines, which are skipped."""

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def pairs(self) -> bool:
        """Whether a line has two texts."""
        return self.lines[0].pair is not None

    @property
    def labels(self) -> Int[ndarray, " lines"] | Float[ndarray, " lines"]:
        """The class number of each line; if labels are numbers, the label itself."""
        if not self.classes:
            return np.array([float(line.label) for line in self.lines])
        numbers = {label: number for number, label in enumerate(self.classes)}
        return np.array([numbers[line.label] for line in self.lines], np.int64)

    @property
    def made_of(self) -> Labels:
        """What the lines of the other splits must have in common with these."""
        if self.classes:
            return Labels(self.classes, self.pairs)
        values = self.labels
        return Labels((), self.pairs, float(values.mean()), float(values.std()) or 1.0)

    @property
    def counts(self) -> dict[str, int]:
        """Number of lines of each class, 0 included; for class weights."""
        counts = Counter(line.label for line in self.lines)
        return {label: counts[label] for label in self.classes}

    @property
    def digest(self) -> str:
        """Identifies the lines: SHA-256 of their labels and texts, whatever file they came from."""
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        for line in self.lines:
            digest.update(json.dumps([line.label, line.text, line.pair]).encode())
        return digest.hexdigest()

    def subset(self, numbers: Iterable[int]) -> "LabelledText":
        """Returns the lines with these numbers, from 0, under the same classes."""
        return replace(self, lines=[self.lines[number] for number in numbers])


def read_labelled(data: Path, *, split: Split, config: LabelledConfig, train: Labels | None = None) -> LabelledText:
    """Finds, reads and checks the lines of a split.

    In a folder a split is STEM.tsv, STEM.csv or STEM.jsonl, each plain or .gz; a file given as ``data`` holds the
    training lines. Without validation lines, ``valid_fraction`` of the training lines, with equal shares of each class,
    is held out for them; with ``folds``, fold number ``fold`` is.

    - TSV: ``label<TAB>text`` or ``label<TAB>text<TAB>second text``, no header, no quoting.
    - CSV: commas, quotes where needed; the first line names the columns.
    - JSONL: an object a line; a label may be a number. So are the rows of Parquet, Arrow and data sets on disk.

    Args:
        data: the folder or file.
        split: which lines.
        config: where in them the label and the texts are.
        train: ``made_of`` of the training lines, which the lines of another split must agree with.

    Raises:
        DataError: lines are missing or cannot be used; the message names the file and the line.
    """
    path, cut = _find(data, split, config)
    rows = _read(path, config)
    lines = [row._replace(label=row.label.strip()) for row in rows if row is not None]  # None is a blank line
    if not lines:
        raise DataError(f"{path} has only blank lines")
    if path.name.removesuffix(".gz").endswith(".tsv"):
        check_no_header([lines[0].label, lines[0].text, lines[0].pair or ""], lines[0].where)
    for line in lines:
        _check(line, lines[0], config)
    if train is not None and train.pairs not in (None, lines[0].pair is not None):
        rule = "one text a line, but two in training" if train.pairs else "two texts a line, but one in training"
        raise DataError(f"{lines[0].where}: {rule}")
    classes: tuple[str, ...] = ()
    if config.kind == "classes":
        places: dict[str, str] = {}
        for line in lines:
            places.setdefault(line.label, line.where)
        check_missing(places)
        if train is None:
            check_classes(Counter(line.label for line in lines), places, str(path))
        classes = tuple(sorted(places)) if train is None else train.classes
        known = {label: known_class(label, classes, where) for label, where in places.items()} if train else {}
        lines = [line._replace(label=known.get(line.label, line.label)) for line in lines]
    text = LabelledText(lines, classes, path.name, blank=len(rows) - len(lines))
    return _cut(text, cut, config) if cut else text


def stratified_folds(
    labels: Int[ndarray, " lines"] | Float[ndarray, " lines"], *, k: int, seed: int
) -> Int[ndarray, " lines"]:
    """Draws from (seed, k) in which of ``k`` folds each line is.

    The sizes of the folds differ by at most one line, and so do the numbers of lines of each class. If labels are
    numbers, lines are dealt out in the order of their labels, so that each fold gets small and large ones.

    Raises:
        UsageError: ``k`` is not from 2 to the number of lines.
    """
    if not 2 <= k <= len(labels):
        raise UsageError(f"k = {k}: must be from 2 to the number of lines, {len(labels)}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, k], spawn_key=(2,)))
    order = np.lexsort((rng.random(len(labels)), labels))
    blocks = -(-len(labels) // k)
    # for classes, all blocks of k lines use one order of the folds, which keeps the counts of every class even; for
    # numbers, each block is dealt in an order of its own
    deals = 1 if np.issubdtype(labels.dtype, np.integer) else blocks
    dealt = rng.permuted(np.tile(np.arange(k), (deals, 1)), axis=1)
    folds = np.empty(len(labels), np.int64)
    folds[order] = np.tile(dealt, (blocks // deals, 1)).ravel()[: len(labels)]
    return folds


def _cut(text: LabelledText, split: str, config: LabelledConfig) -> LabelledText:
    """Returns the lines of ``split``, train or valid, out of the training lines."""
    k = config.folds or min(round(1 / config.valid_fraction), len(text))
    if not 2 <= k <= len(text):
        key = f"folds = {k}" if config.folds else f"valid_fraction = {config.valid_fraction}"
        raise DataError(f"{text.file}: {len(text)} lines, too few for data.{key}")
    held_out = stratified_folds(text.labels, k=k, seed=0) == config.fold
    counts, trained = text.counts, {text.lines[at].label for at in np.flatnonzero(~held_out)}
    for at in np.flatnonzero(held_out).tolist() if text.classes else []:
        line = text.lines[at]
        if config.folds and line.label not in trained:
            rule = f"data.fold = {config.fold} would hold out all {counts[line.label]} lines of it"
            raise DataError(
                f"{line.where}: label {short(line.label)}: {rule}; data.folds needs more lines of each class"
            )
        # a class of one line stays in training: a model cannot learn what it never sees
        held_out[at] = counts[line.label] > 1
    if not held_out.any():
        raise DataError(f"{text.file}: {len(text)} lines, too few for data.valid_fraction = {config.valid_fraction}")
    return text.subset(np.flatnonzero(held_out if split == "valid" else ~held_out).tolist())


def _find(data: Path, split: Split, config: LabelledConfig) -> tuple[Path, str]:
    """Returns the file of a split, and the part of it to take, train or valid; an empty part means all of it."""
    if not data.exists():
        hint = nearest(data.name, [path.name for path in data.parent.glob("*")])
        raise DataError(f"data {str(data)!r} does not exist{hint if 'did you mean' in hint else ''}")
    stems = {"train": config.train, "valid": config.valid, "test": config.test}
    files = {name: _file(data, stem) for name, stem in stems.items()} if data.is_dir() else {"train": data}
    if data.is_file() and not data.name.endswith(_ENDINGS):
        raise DataError(f"data {str(data)!r} must end in {', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]}")
    train, own = files["train"], files.get(split)
    if train and config.folds and split != "test":
        return train, split
    if own and (split != "train" or files.get("valid") or not config.valid_fraction):
        return own, ""
    if train and split != "test" and config.valid_fraction:
        return train, split
    fix = f"add {stems[split]}.tsv, {stems[split]}.csv or {stems[split]}.jsonl (each plain or .gz)"
    if train and split == "valid":
        fix += ", or set data.valid_fraction = 0.1"
    hint = nearest(f"{stems[split]}.tsv", [path.name for path in data.iterdir()]) if data.is_dir() else ""
    raise NoSplitError(f"data {str(data)!r} has no {split} split: {fix}{hint}")


def _file(data: Path, stem: str) -> Path | None:
    paths = [path for ending in _ENDINGS if (path := data / f"{stem}{ending}").is_file()]
    paths += [path for path in (data / stem,) if path.is_dir() and is_table(path)]
    if len(paths) > 1:
        raise DataError(f"{paths[0]} and {paths[1].name} both exist: keep one of them")
    return paths[0] if paths else None


def _read(path: Path, config: LabelledConfig) -> list[Line | None]:
    """Reads a file; a blank line is None."""
    lines = [line for file in table_files(path) for line in read_lines(file)]
    if not lines:
        raise DataError(f"{path} is empty")
    match path.name.removesuffix(".gz").rpartition(".")[2]:
        case "csv":
            return list(_csv(path, lines, config))
        case "jsonl":
            reader = _json_line
        case _ if is_table(path):
            reader = _json_line
        case _:
            reader = _tab_line
    return [
        None if line.isspace() else reader(line, f"{path} line {number}", config)
        for number, line in enumerate(lines, 1)
    ]


def _tab_line(line: str, where: str, config: LabelledConfig) -> Line:
    label, *texts = line.removesuffix("\n").removesuffix("\r").split("\t")
    if not 1 <= len(texts) <= 2:
        raise DataError(f"{where}: {1 + len(texts)} columns, must be label<TAB>text or label<TAB>text<TAB>second text")
    return Line(where, label, texts[0], texts[1] if len(texts) == 2 else None)


def _json_line(line: str, where: str, config: LabelledConfig) -> Line:
    fields = json_record(line, where)
    label = fields.get(config.label_field)
    if isinstance(label, int | float) and not isinstance(label, bool):
        if not math.isfinite(label):
            raise DataError(f"{where}: label {label} is not a number")
        whole = config.kind == "classes" and label == int(label)  # 1 and 1.0 are one class
        fields |= {config.label_field: str(int(label) if whole else label)}
    label, text = (string_field(fields, name, where) for name in (config.label_field, config.text_field))
    pair = string_field(fields, config.pair_field, where) if fields.get(config.pair_field) is not None else None
    return Line(where, label, text, pair)


def _csv(path: Path, lines: Sequence[str], config: LabelledConfig) -> Iterator[Line | None]:
    csv.field_size_limit(max(csv.field_size_limit(), MOST_FIELD))  # the library's limit is 131,072 characters
    reader = csv.reader(lines, strict=True)
    columns: list[str] = []
    start = 1  # of the row; one in quotes may span several lines
    try:
        for row in reader:
            where, start = f"{path} line {start}", reader.line_num + 1
            if not columns:
                columns = _columns(row, where, config)
            elif not any(map(str.strip, row)):
                yield None
            elif len(row) != len(columns):
                raise DataError(f"{where}: {len(row)} columns, the first line names {len(columns)}")
            else:
                fields: dict[str, Any] = dict(zip(columns, row, strict=True))
                yield Line(where, fields[config.label_field], fields[config.text_field], fields.get(config.pair_field))
    except csv.Error as error:
        raise DataError(f"{path} line {start}: not CSV ({error})") from error


def _columns(row: list[str], where: str, config: LabelledConfig) -> list[str]:
    names = [name.strip() for name in row]
    separator = next((mark for mark in ";\t|" if len(row) == 1 and mark in row[0]), None)
    if separator:
        raise DataError(f"{where}: columns are separated by {separator!r}, must be separated by commas")
    for name in (config.label_field, config.text_field, config.pair_field):
        if names.count(name) > 1:
            raise DataError(f"{where}: column {name!r} is named twice")
        if name not in names and name != config.pair_field:
            hint = nearest(name, names) if max(map(len, names)) < 40 else "; the first line must name the columns"
            raise DataError(f"{where}: column {name!r} is missing{hint}")
    return names


def _check(line: Line, first: Line, config: LabelledConfig) -> None:
    """Raises DataError if a line cannot be used, or does not have as many texts as the first line."""
    if not line.label:
        raise DataError(f"{line.where}: the label is empty")
    for text in (line.text, line.pair):
        if text is not None and not text.strip():
            raise DataError(f"{line.where}: the text is empty")
    if (line.pair is None) != (first.pair is None):
        rule = (
            "one text, but two in the lines before" if line.pair is None else "two texts, but one in the lines before"
        )
        raise DataError(f"{line.where}: {rule}")
    if config.kind == "number" and not is_number(line.label):
        raise DataError(f"{line.where}: label {short(line.label)} is not a number, as data.kind = 'number' requires")
