"""What a reader has taken and has to be asked again: a file among the user's own."""

import json
import os
from pathlib import Path
from typing import Any

from clearhead.files import write_whole


def place() -> Path:
    """Returns the file: below CLEARHEAD_STATE, or where the desktop's rules (XDG) put what a program remembers."""
    folder = os.environ.get("CLEARHEAD_STATE")
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return (Path(folder) if folder else Path(state) / "clearhead") / "lessons.json"


def taken() -> set[str]:
    """Returns the names of the lessons that were taken; none if the file cannot be read."""
    return set(_names("taken"))


def to_repeat() -> list[str]:
    """Returns the kinds of questions that were answered wrongly the last time they were asked."""
    return _names("repeat")


def mark(name: str) -> None:
    """Remembers that a lesson was taken, where that can be written."""
    if name not in _names("taken"):
        _write("taken", [*_names("taken"), name])


def remember(kind: str, *, repeat: bool) -> None:
    """Remembers whether a kind of question is to be asked again, where that can be written."""
    if repeat != (kind in _names("repeat")):
        _write("repeat", [*_names("repeat"), kind] if repeat else [each for each in _names("repeat") if each != kind])


def _names(key: str) -> list[str]:
    names = _tree().get(key)
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _tree() -> dict[str, Any]:
    try:
        tree = json.loads(place().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _write(key: str, names: list[str]) -> None:
    tree = {"taken": _names("taken"), "repeat": _names("repeat"), key: names}
    try:
        place().parent.mkdir(parents=True, exist_ok=True)
        write_whole(place(), (json.dumps(tree) + "\n").encode())
    except OSError:
        return
