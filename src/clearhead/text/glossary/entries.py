"""The entries of a glossary: what stands in them, and the files and texts that they are read from."""

import csv
import functools
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clearhead.errors import DataError
from clearhead.files import MOST_SMALL, decoded, read_given

MOST_ENTRIES = 100_000
_SIGN = re.compile(r"\\[|*\\]|.", re.DOTALL)
"""A character of a target, with the backslash that takes its meaning from it."""


@dataclass(frozen=True)
class Form:
    """One of the ways in which an entry may be translated."""

    text: str
    goes_on: bool = False
    """Whether its last word may have more letters: the model chooses an ending."""


@dataclass(frozen=True)
class Entry:
    """Words of a source, and how they are to be translated.

    Raises:
        DataError: when made: a side is empty, or ``target`` has a form that is.
    """

    source: str
    """White space of any width is one space; see ``Glossary`` for capitals."""
    target: str
    """Forms between ``|``; one that ends in ``*`` may go on. A backslash makes these three signs ordinary ones."""

    def __post_init__(self) -> None:
        # as texts are compared: one way to write an accent, one space
        object.__setattr__(self, "source", plain(self.source))
        if not self.source:
            raise DataError("has an empty source")
        if not self.target.strip():
            raise DataError("has an empty target")
        _ = self.forms

    @functools.cached_property
    def forms(self) -> tuple[Form, ...]:
        """The forms that meet the entry, each also with a first capital where it has no capitals."""
        forms = [form for raw in _alternatives(self.target) for form in _with_capital(raw)]
        return tuple(dict.fromkeys(forms))


def plain(text: str) -> str:
    """Returns a text as sources are compared: composed characters, single spaces, none around it."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def read_entries(path: Path) -> list[Entry]:
    """Reads a file of lines with a source, a tab and a target.

    Raises:
        DataError: it cannot be read, is not UTF-8, or see ``parse_entries``; the message names file, line and rule.
    """
    where = f"glossary {str(path)!r}"
    return parse_entries(decoded(read_given(path, MOST_SMALL, where), where, "utf-8-sig"), where)


def parse_entries(text: str, where: str, kind: Literal["tsv", "csv"] = "tsv") -> list[Entry]:
    """Reads lines of a source, a separator and a target; more columns are remarks, and an empty line is none.

    Args:
        text: the lines.
        where: what messages call it.
        kind: what stands between the two: a tab, or as in CSV.

    Raises:
        DataError: a line has no separator or an empty side, a source has two targets, there is none or too many.
    """
    try:
        if kind == "tsv":
            rows = [line.removesuffix("\r").split("\t") for line in text.split("\n")]
        else:
            rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise DataError(f"{where}: no CSV: {error}") from error
    return checked_entries(rows, where, separator="tab" if kind == "tsv" else "comma")


def checked_entries(
    rows: Iterable[Sequence[str]], where: str, *, row: str = "line", separator: str = "tab"
) -> list[Entry]:
    """Returns the entries of rows; see ``parse_entries``, whose messages call them and what divides them so."""
    first: dict[str, tuple[int, Entry]] = {}
    for number, cells in enumerate(rows, 1):
        if not any(cell.strip() for cell in cells):
            continue
        place = f"{where}, {row} {number}"
        if len(cells) < 2:
            raise DataError(f"{place}: must be a source, a {separator} and a target; there is no {separator}")
        try:
            entry = Entry(cells[0], cells[1].strip())
        except DataError as error:
            raise DataError(f"{place}: {error}") from error
        before, same = first.setdefault(entry.source, (number, entry))
        if same.target != entry.target:
            raise DataError(f"{place}: the source {entry.source[:40]!r} has another target on {row} {before}")
    if not 1 <= len(first) <= MOST_ENTRIES:
        raise DataError(f"{where} has {len(first):,} entries, must be 1 to {MOST_ENTRIES:,}")
    return [entry for _, entry in first.values()]


def _alternatives(target: str) -> list[Form]:
    """Returns the forms that a target names; raises DataError if one is empty, or has a star inside."""
    signs: list[list[str]] = [[]]
    for sign in _SIGN.findall(target):
        if sign == "|":
            signs.append([])
        else:
            signs[-1].append(sign)
    return [_form("".join(form).strip()) for form in signs]


def _form(raw: str) -> Form:
    signs = _SIGN.findall(raw)
    goes_on = signs[-1:] == ["*"]
    signs = signs[:-1] if goes_on else signs
    if "*" in signs:
        raise DataError("has a target with * before its end: only the last word of a form may go on")
    text = "".join(sign[-1] for sign in signs)
    if not text.strip():
        raise DataError("has a target with an empty form")
    if goes_on and not text[-1].isalnum():
        raise DataError("has a target with * behind no letter")
    return Form(text, goes_on)


def _with_capital(form: Form) -> list[Form]:
    """Returns a form, and where it has no capitals the same at the head of a sentence."""
    text = form.text
    return [form] if text != text.lower() else [form, Form(text[0].upper() + text[1:], form.goes_on)]
