"""The one exception tree: every error a user can cause is a ``ClearheadError`` with an exit code."""

import difflib
from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class ClearheadError(Exception):
    """Base of all errors that the command line reports as one line; ``exit_code`` is its exit status."""

    exit_code = 1


class UsageError(ClearheadError):
    """A wrong argument, option or recipe key."""

    exit_code = 2


class SettingError(UsageError, ValueError):
    """Settings of one config that do not go together; a ValueError too, which pydantic gathers with all others."""


class DataError(ClearheadError):
    """Data that cannot be used: missing, empty, of unequal length, not UTF-8, too long."""

    exit_code = 3


class ModelError(ClearheadError):
    """A run directory, checkpoint or model that is missing, damaged or of the wrong shape."""

    exit_code = 4


OnError = Callable[[int, DataError], object]
"""Called with the number (from 0) of a text that cannot be answered, and why."""


def refuse(number: int, error: DataError) -> NoReturn:
    """Raises ``error``, with the number of its text: the default ``OnError``, which ends the call at such a text."""
    raise type(error)(f"text {number + 1}: {error}") from error


def attempt_each(function: Callable[[T], R], texts: Iterable[T], on_error: OnError) -> list[R | None]:
    """Returns what ``function`` makes of each text; None where it raises DataError and ``on_error`` lets that pass."""
    results: list[R | None] = []
    for number, text in enumerate(texts):
        try:
            results.append(function(text))
        except DataError as error:
            on_error(number, error)
            results.append(None)
    return results


def nearest(given: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean X?"`` with the closest of ``known``, or a list of all of them if none is close."""
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
