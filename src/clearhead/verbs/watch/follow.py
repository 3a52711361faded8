"""Follows the files of a run as they grow, whatever state it is in; loads no torch, and writes nothing."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clearhead.config import Tree
from clearhead.errors import ClearheadError
from clearhead.runs.directory import LEFTOVERS
from clearhead.runs.lock import holder
from clearhead.runs.recipes import RECIPE, load_recipe
from clearhead.training.writers import MOST_RECORD, History
from clearhead.verbs.watch.state import RunState, state_of


class Tail:
    """The lines that are added to a file, which may not be there yet, or be another one at any time.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.history = path, History()
        self._at, self._file, self._rest = 0, 0, b""

    def read(self) -> list[dict[str, Any]]:
        """Returns the records that were added since the last call; all of a file that is new."""
        try:
            with self.path.open("rb") as file:
                return self._added(file)
        except OSError:
            return []

    def _added(self, file: Any) -> list[dict[str, Any]]:
        about = os.fstat(file.fileno())
        if about.st_ino != self._file or about.st_size < self._at:
            self.history, self._at, self._file, self._rest = History(), 0, about.st_ino, b""
        file.seek(self._at)
        added = file.read()
        self._at += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        if len(self._rest) > MOST_RECORD:
            self._rest = self._rest[:MOST_RECORD]  # no line of ours is longer
        return [record for record in map(self.history.take, lines) if record]


def follow(run: Path, wait: Callable[[], object]) -> Iterator[tuple[RunState, list[dict[str, Any]]]]:
    """Yields where a run is, with the records of ``metrics.jsonl`` that are new, until its end.

    Args:
        run: its directory; where there is none yet it is waited for.
        wait: called before each look but the first.

    Raises:
        ModelError: ``run`` is a file, a folder of runs, or holds something else.
    """
    tail, recipe = Tail(run / "metrics.jsonl"), dict[str, Any]()
    while True:
        held, added = holder(run), tail.read()
        held = held or holder(run)  # what ends or begins meanwhile is in work until the next look
        if not recipe or any(record["event"] == "begun" for record in added):
            recipe = _recipe_of(run)
        state = state_of(run, tail.history.records, recipe, holder=held)
        if state.status in ("new", "absent"):
            _check_to_come(run)
        yield state, added
        if state.over:
            return
        wait()


def look(run: Path) -> RunState:
    """Returns where a run is now."""
    return next(follow(run, lambda: None))[0]


def _check_to_come(run: Path) -> None:
    """Raises ModelError if a run that has not begun cannot begin in this place, as something else stands there."""
    try:
        inside = {path.name for path in run.iterdir()}
    except NotADirectoryError:
        inside = {run.name}
    except OSError:
        return
    if inside.difference(LEFTOVERS) and not holder(run) and not (run / RECIPE).exists():
        load_recipe(run)


def _recipe_of(run: Path) -> Tree:
    """Returns the recipe of a run; empty if it cannot be read."""
    recipe: Mapping[str, Any] = {}
    with contextlib.suppress(ClearheadError):
        recipe = load_recipe(run)
    return dict(recipe)
