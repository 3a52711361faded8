"""The user's language: a catalogue of templates translates the English of the code where it is shown.

The code says everything in English, as plain strings and f-strings. What is shown to a person goes through
``localized``, which finds the template that a text was made from, and fills the values into its translation. So JSON,
logs and results stay the same in all languages. ``zh.po`` is in gettext's format; ``scripts/words`` extracts what the
code says and keeps the file in step.
"""

import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

Language = Literal["en", "zh"]
CATALOGUE = Path(__file__).with_name("zh.po")
SLOT = re.compile(r"\{(\w+)(:text|:list|:number)?\}")
"""{name} is a value and {name:number} a number, which stay; {name:text} is a text, translated too; {name:list} are
several texts between commas.
"""
MARK = re.compile("; |: ")
MOST_MARKS = 200  # a message with more marks is not from clearhead
_FIRST_MARKS = 4  # marks at which a text is divided; the part to the right is divided again
_VALUE = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^'"].*?"""  # if it begins with a quote, it ends with one
_NUMBER = r" *[-+]?[\d,.:/]+(?:e[-+]?\d+)?(?: ?%)?|-?inf|nan|-"
_CHOSEN: ContextVar[Language | None] = ContextVar("language", default=None)


class Prose(str):
    """A text of the program among values, such as a cell of a table, which is shown in the reader's language."""

    __slots__ = ()


def spoken_language(environ: Mapping[str, str] = os.environ) -> Language:
    """Returns the language in which to speak: what ``speaking`` chose, else what ``environ`` prefers."""
    return _CHOSEN.get() or ("zh" if wants_chinese(environ) else "en")


@contextmanager
def speaking(chosen: Language | None) -> Iterator[None]:
    """Speaks a language, whatever the environment prefers; with None nothing changes."""
    token = _CHOSEN.set(chosen or _CHOSEN.get())
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def localized(message: str, environ: Mapping[str, str] = os.environ) -> str:
    """Returns a text of the program in the user's language; parts without a template in the catalogue stay English."""
    return message if spoken_language(environ) == "en" else translated(message)


def localized_lines(text: str) -> str:
    """Returns a text of several lines in the user's language."""
    return "\n".join(map(localized, text.split("\n")))


def translated(message: str) -> str:
    """Returns a text in Chinese, as far as the catalogue has templates for it; what it is indented by stays."""
    if message.startswith("  "):
        return (len(message) - len(message.lstrip(" "))) * " " + translated(message.lstrip(" "))
    marks = [mark.end() for mark in MARK.finditer(message)]
    if len(marks) > MOST_MARKS:
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
    kinds: dict[str, str | None]
    """For each slot what it holds: None, ``:text``, ``:list`` or ``:number``."""
    chinese: str


@functools.cache
def _read(text: str) -> _Reading:
    """Returns the reading that knows most: the text unchanged, a template with its slots read, or two clauses."""
    readings = [_Reading(0, text)]
    for template in _templates():
        # this rules most templates out quickly, before a pattern tries every way to divide a long text
        if all(map(text.__contains__, template.plain)) and (match := template.pattern.fullmatch(text)):
            slots = {name: _in_slot(content, template.kinds[name]) for name, content in match.groupdict().items()}
            known = sum(map(len, template.plain)) + sum(slot.known for slot in slots.values())
            chinese = SLOT.sub(lambda slot: slots[slot[1]].chinese, template.chinese)  # noqa: B023
            readings.append(_Reading(known, chinese))
    for mark in islice(MARK.finditer(text), _FIRST_MARKS):
        left, right = _read(text[: mark.start()]), _read(text[mark.end() :])
        chinese = left.chinese + {"; ": "；", ": ": "："}[mark[0]] + right.chinese
        readings.append(_Reading(left.known + right.known, chinese))
    return max(readings, key=lambda reading: reading.known)


def entries(text: str) -> dict[str, str]:
    """Returns the entries of a catalogue in gettext's format that are translated, English to the other language.

    This reads what ``scripts/words`` writes. Python's own ``gettext`` reads compiled files only, and lists no entries,
    which a text made from a template has to be compared with.
    """
    pairs = re.findall(r'^msgid (".*"(?:\n".*")*)\nmsgstr (".*"(?:\n".*")*)$', text, re.MULTILINE)
    joined = (["".join(map(json.loads, part.splitlines())) for part in pair] for pair in pairs)
    return {english: chinese for english, chinese in joined if english and chinese}


def _in_slot(content: str, kind: str | None) -> _Reading:
    """Returns the reading of what fills a slot."""
    match kind:
        case ":text":
            return _read(content)
        case ":list":
            items = list(map(_read, content.split(", ")))
            return _Reading(sum(item.known for item in items), "，".join(item.chinese for item in items))
    return _Reading(0, content)


def translated_template(template: str) -> str:
    """Returns a template in Chinese, with the same ``{slots}``, for who fills them elsewhere; unchanged if unknown."""
    return _by_template().get(template, template)


@functools.cache
def _by_template() -> dict[str, str]:
    bare = functools.partial(SLOT.sub, r"{\1}")
    return {bare(english): bare(chinese) for english, chinese in _entries().items()}


@functools.cache
def _entries() -> dict[str, str]:
    return entries(CATALOGUE.read_text(encoding="utf-8"))


@functools.cache
def _templates() -> list[_Template]:
    return [_template(*pair) for pair in _entries().items()]


def _template(english: str, chinese: str) -> _Template:
    parts = SLOT.split(english)  # plain text; then for every slot its name, its kind or None, and plain text
    plain, slots = parts[::3], list(zip(parts[1::3], parts[2::3], strict=True))
    kinds = {None: _VALUE, ":number": _NUMBER}
    groups = [f"(?P<{name}>{kinds.get(kind, '.*?')})" for name, kind in slots]
    pattern = "".join(re.escape(between) + group for between, group in zip(plain, [*groups, ""], strict=True))
    return _Template(re.compile(pattern), plain, dict(slots), chinese)
