"""The one exception tree: every error a user can cause is a ``ClearheadError`` with an exit code."""

import difflib
from collections.abc import Iterable


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


def nearest(given: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean X?"`` with the closest of ``known``, or a list of all of them if none is close."""
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
