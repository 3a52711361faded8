"""Errors in the user's language: a catalogue of templates translates the English of the code into Chinese."""

import functools
import os
import re
import tomllib
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

CATALOGUE = Path(__file__).with_name("errors_zh.toml")
SLOT = re.compile(r"\{(\w+)(:text)?\}")  # {name}: a value, kept as it is; {name:text}: a text, translated too
MARK = re.compile("; |: ")
MOST_MARKS = 200  # a message with more marks is not from clearhead
_FIRST_MARKS = 4  # marks at which a text is divided; the part to the right is divided again
_VALUE = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^'"].*?"""  # if it begins with a quote, it ends with one


def localized(message: str, environ: Mapping[str, str] = os.environ) -> str:
    """Returns the message of an error in Chinese if ``environ`` asks for it, else unchanged.

    Parts for which the catalogue has no template stay English.
    """
    marks = [mark.end() for mark in MARK.finditer(message)]
    if not wants_chinese(environ) or len(marks) > MOST_MARKS:
        return message
    # from the right, so that what follows a mark is already in the cache of ``_read``, and recursion stays shallow
    for end in reversed(marks):
        _read(message[end:])
    return _read(message).chinese


def wants_chinese(environ: Mapping[str, str]) -> bool:
    """Returns whether ``environ`` prefers Chinese to English.

    As in POSIX, the first of LC_ALL, LC_MESSAGES and LANG that is set gives the language. As in GNU gettext, the list
    LANGUAGE precedes it, unless it is C.
    """
    locale = next(filter(None, map(environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "C")
    names = [locale] if locale in ("C", "POSIX") else [*environ.get("LANGUAGE", "").split(":"), locale]
    languages = [re.split("[-_.@]", name)[0] for name in names]
    return next((language for language in languages if language in ("en", "zh")), "en") == "zh"


class _Reading(NamedTuple):
    """A possible translation of a text."""

    known: int
    """Number of its English characters that templates of the catalogue match."""
    chinese: str


class _Template(NamedTuple):
    """An English template, split at its slots, and its translation."""

    pattern: re.Pattern[str]
    plain: list[str]
    """The text before, between and after the slots."""
    texts: set[str]
    """Names of the slots that hold texts, which are translated too."""
    chinese: str


@functools.cache
def _read(text: str) -> _Reading:
    """Returns the reading that knows most: the text unchanged, a template with its slots read, or two clauses."""
    readings = [_Reading(0, text)]
    for template in _templates():
        # this rules most templates out quickly, before a pattern tries every way to divide a long text
        if all(map(text.__contains__, template.plain)) and (match := template.pattern.fullmatch(text)):
            slots = {
                name: _read(content) if name in template.texts else _Reading(0, content)
                for name, content in match.groupdict().items()
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
    parts = SLOT.split(english)  # plain text; then for every slot its name, ":text" or None, and plain text
    plain, slots = parts[::3], list(zip(parts[1::3], parts[2::3], strict=True))
    groups = [f"(?P<{name}>{'.*?' if is_text else _VALUE})" for name, is_text in slots]
    pattern = "".join(re.escape(between) + group for between, group in zip(plain, [*groups, ""], strict=True))
    texts = {name for name, is_text in slots if is_text}
    return _Template(re.compile(pattern), plain, texts, SLOT.sub(r"{\1}", chinese))
