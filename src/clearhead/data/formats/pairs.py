"""Pairs of lines that stand in one file: TSV, TMX, and tables with a column for each language."""

from collections.abc import Iterator
from pathlib import Path

from clearhead.data.corpus import text_lines
from clearhead.data.formats.tables import TABLES, column_names, is_table, table_rows
from clearhead.data.formats.tmx import tmx_pairs
from clearhead.errors import DataError, nearest

ENDINGS = (".tsv", ".tsv.gz", ".tmx", ".tmx.gz", *TABLES)
TRANSLATION = "translation"
"""A column of Hugging Face's data sets that holds a text for each language."""


HEADINGS = {"source", "target", "src", "tgt"}
"""What columns are called that are no text."""


def find_pairs(folder: Path, stem: str) -> list[Path]:
    """Returns the files, or folders of data sets, that hold both sides of a split; there should be one at the most."""
    files = [path for ending in ENDINGS if (path := folder / f"{stem}{ending}").is_file()]
    return files + [path for path in (folder / stem,) if path.is_dir() and is_table(path)]


def pair_rows(path: Path, src: str, tgt: str) -> Iterator[tuple[str, str]]:
    """Yields source and target of each row, each on one line; a side that is not there is empty.

    - TSV: ``source<TAB>target``, without quoting; or a first line that names columns, two of them by the languages.
    - TMX: see ``tmx_pairs``.
    - Parquet, Arrow, a data set on disk: columns with the names of the languages, or a column ``translation`` that has
      a text for each.

    Args:
        path: one that ``find_pairs`` has found.
        src: source language, as the recipe has it.
        tgt: target language.

    Raises:
        DataError: it cannot be read; the message names the line, or the columns that there are.
    """
    name = path.name.removesuffix(".gz")
    if name.endswith(".tmx"):
        yield from tmx_pairs(path, src, tgt)
    elif name.endswith(".tsv"):
        yield from _tsv(path, src, tgt)
    else:
        yield from _table(path, src, tgt)


def _tsv(path: Path, src: str, tgt: str) -> Iterator[tuple[str, str]]:
    columns, places = 2, (0, 1)
    for number, line in enumerate(text_lines(path), 1):
        row = line.split("\t")
        if number == 1 and {src, tgt} <= set(row):
            columns, places = len(row), (row.index(src), row.index(tgt))
            continue
        if number == 1 and HEADINGS.issuperset(name.strip().lower() for name in row):
            called = " and ".join(row)
            raise DataError(
                f"{path} line 1: its columns are called {called}; call them {src} and {tgt}, or delete the line"
            )
        if len(row) != columns:
            rule = f"{columns}, as the first line has" if columns != 2 else "source<TAB>target"
            named = f", or a first line that names the columns {src} and {tgt}" if number == 1 else ""
            raise DataError(f"{path} line {number}: {len(row)} columns, must be {rule}{named}")
        yield row[places[0]], row[places[1]]


def _table(path: Path, src: str, tgt: str) -> Iterator[tuple[str, str]]:
    names = column_names(path)
    if {src, tgt} <= set(names):
        for number, row in enumerate(table_rows(path, [src, tgt]), 1):
            yield _on_one_line(row[src], path, number, src), _on_one_line(row[tgt], path, number, tgt)
        return
    if TRANSLATION not in names:
        missing = src if src not in names else tgt
        raise DataError(f"{path}: column {missing!r} is missing{nearest(missing, names)}")
    for number, row in enumerate(table_rows(path, [TRANSLATION]), 1):
        texts = row[TRANSLATION] if isinstance(row[TRANSLATION], dict) else {}
        if missing := next((language for language in (src, tgt) if language not in texts), ""):
            raise DataError(f"{path} row {number}: {TRANSLATION} has no {missing!r}{nearest(missing, texts)}")
        yield _on_one_line(texts[src], path, number, src), _on_one_line(texts[tgt], path, number, tgt)


def _on_one_line(value: object, path: Path, number: int, column: str) -> str:
    """Returns a text with spaces for its line breaks; an empty one where there is none."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{path} row {number}: column {column!r} is not text, it has {type(value).__name__}")
    return " ".join(value.splitlines())
