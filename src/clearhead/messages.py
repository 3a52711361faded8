"""Errors in the user's language: Chinese by a catalogue of templates; English is what the code says."""

import functools
import os
import re
import tomllib
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

CATALOGUE = Path(__file__).with_name("errors_zh.toml")
SLOT = re.compile(r"\{(\w+)(:text)?\}")  # {name}: a value, which stays; {name:text}: a text, which is read too
MARK = re.compile("; |: ")
MOST_MARKS = 200  # a longer line is none of ours
_FIRST_MARKS = 4  # no clause has more, so that further ones stand right of one of these
_VALUE = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^'"].*?"""  # quotes, where it has them, are its ends


def localized(message: str, environ: Mapping[str, str] = os.environ) -> str:
    """Returns the line of an error in Chinese where ``environ`` asks for it, else as it is.

    What the catalogue has no template for stays English within the line.
    """
    marks = [mark.end() for mark in MARK.finditer(message)]
    if not wants_chinese(environ) or len(marks) > MOST_MARKS:
        return message
    # from the right, so that what follows a mark has been read when it is needed: no recursion runs deep
    for end in reversed(marks):
        _read(message[end:])
    return _read(message).chinese


def wants_chinese(environ: Mapping[str, str]) -> bool:
    """Says whether Chinese comes before English among the languages that ``environ`` names.

    POSIX: the first of LC_ALL, LC_MESSAGES and LANG that is set decides. GNU gettext: LANGUAGE, a list, comes before
    it, unless it is C.
    """
    locale = next(filter(None, map(environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "C")
    names = [locale] if locale in ("C", "POSIX") else [*environ.get("LANGUAGE", "").split(":"), locale]
    languages = [re.split("[-_.@]", name)[0] for name in names]
    return next((language for language in languages if language in ("en", "zh")), "en") == "zh"


class _Reading(NamedTuple):
    """One way to understand a text."""

    known: int
    """How many of its characters the catalogue has."""
    chinese: str


class _Template(NamedTuple):
    """An English template, taken apart, and its translation."""

    pattern: re.Pattern[str]
    plain: list[str]
    """What stands before, between and behind the slots."""
    texts: set[str]
    """Slots that hold texts."""
    chinese: str


@functools.cache
def _read(text: str) -> _Reading:
    """Returns the reading that knows most: the text as it is, a template with its slots read, or two texts in a row."""
    readings = [_Reading(0, text)]
    for template in _templates():
        # most templates are out at once, before a pattern tries every way to divide a long text
        if all(map(text.__contains__, template.plain)) and (found := template.pattern.fullmatch(text)):
            slots = {
                name: _read(content) if name in template.texts else _Reading(0, content)
                for name, content in found.groupdict().items()
            }
            known = sum(map(len, template.plain)) + sum(slot.known for slot in slots.values())
            chinese = template.chinese.format(**{name: slot.chinese for name, slot in slots.items()})
            readings.append(_Reading(known, chinese))
    for mark in islice(MARK.finditer(text), _FIRST_MARKS):
        left, right = _read(text[: mark.start()]), _read(text[mark.end() :])
        chinese = left.chinese + {"; ": "；", ": ": "："}[mark[0]] + right.chinese
        readings.append(_Reading(left.known + right.known, chinese))
    return max(readings, key=lambda reading: reading.known)


@functools.cache
def _templates() -> list[_Template]:
    tables = tomllib.loads(CATALOGUE.read_text(encoding="utf-8")).values()
    return [_template(*pair) for table in tables for pair in table.items()]


def _template(english: str, chinese: str) -> _Template:
    parts = SLOT.split(english)  # plain; then name, ":text" or None, plain for every slot
    plain, slots = parts[::3], list(zip(parts[1::3], parts[2::3], strict=True))
    groups = [f"(?P<{name}>{'.*?' if is_text else _VALUE})" for name, is_text in slots]
    pattern = "".join(re.escape(between) + group for between, group in zip(plain, [*groups, ""], strict=True))
    texts = {name for name, is_text in slots if is_text}
    return _Template(re.compile(pattern), plain, texts, SLOT.sub(r"{\1}", chinese))
