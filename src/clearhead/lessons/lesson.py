"""A lesson: a question, what a program measures about it, and the claims of its answer, which the program checks.

A module of this room is a lesson if it has

- ``run(*, knob=..., seed=0)``, which measures and returns a frozen dataclass of plain numbers. Its arguments are knobs
  that a reader may turn; ``trained: Path`` asks for a trained run, ``progress`` for something to call while it trains;
- ``check(measured)``, which returns for each sentence of the answer whether it holds;
- ``show(measured, say)``, which returns tables and curves; ``say`` gives its labels in the reader's language;
- ``facts(measured)``, the numbers that the sentences name, as text; ``guess`` is the one to guess before;
- ``LIMITS``: the least and the largest value of each knob; ``TASKS``: whose runs it can look into.

Its words are in ``words/NAME.toml``, English and Chinese side by side.
"""

import functools
import importlib
import inspect
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from clearhead.drawing.report import Part
from clearhead.errors import ModelError, UsageError, nearest
from clearhead.lessons.catalog import LESSONS
from clearhead.messages import Language
from clearhead.progress import Progress, silent

Claims = dict[str, bool]
"""Whether each sentence of an answer holds, by its key."""
Say = Callable[[str], str]
"""Gives the label of a key in the reader's language."""
GIVEN = ("trained", "progress")  # arguments of ``run`` that are no knobs
SEEDS = (0, 2**31 - 1)


@functools.cache
def read_words(name: str) -> dict[str, Any]:
    """Returns the words of a lesson, of the page around all, or of the quiz, with a table for each language."""
    return tomllib.loads((Path(__file__).with_name("words") / f"{name}.toml").read_text(encoding="utf-8"))


class Lesson:
    """A lesson by its name.

    Args:
        name: as in ``catalog.LESSONS``.

    Raises:
        UsageError: there is no such lesson.
    """

    def __init__(self, name: str):
        if name not in LESSONS:
            raise UsageError(f"lesson {name!r}: unknown{nearest(name, LESSONS)}")
        self.name = name

    @functools.cached_property
    def module(self) -> Any:
        """The module of the lesson, which is imported when it is first asked for."""
        return importlib.import_module(f"clearhead.lessons.{self.name.replace('-', '_')}")

    @property
    def needs_run(self) -> bool:
        """Whether it looks into a trained run."""
        return "trained" in inspect.signature(self.module.run).parameters

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of recipes whose runs it can look into."""
        return cast(tuple[str, ...], self.module.TASKS)

    def knobs(self) -> dict[str, Any]:
        """Returns what a reader may change, with the values that it has otherwise."""
        parameters = inspect.signature(self.module.run).parameters.values()
        return {one.name: one.default for one in parameters if one.name not in GIVEN}

    def settings(self, changes: Sequence[str]) -> dict[str, Any]:
        """Returns knobs from texts like ``d_k=8,64,512``.

        Raises:
            UsageError: there is no such knob, or its value is not one that it may have.
        """
        knobs, settings = self.knobs(), dict[str, Any]()
        for change in changes:
            name, equals, text = change.partition("=")
            if not equals or name not in knobs:
                raise UsageError(f"--set {change!r}: lesson {self.name!r} has the knobs {', '.join(knobs)}")
            settings[name] = self._value(name, text)
        return settings

    def checked(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Returns knobs given as values, as ``settings`` returns them from texts; raises UsageError alike."""
        shown = {name: value if isinstance(value, tuple | list) else (value,) for name, value in settings.items()}
        return self.settings([f"{name}={','.join(map(str, values))}" for name, values in shown.items()])

    def measure(
        self, settings: Mapping[str, Any] | None = None, *, trained: Path | None = None, progress: Progress = silent
    ) -> Any:
        """Runs the measurement; returns what it found.

        Args:
            settings: knobs that are turned.
            trained: a run, of a lesson that looks into one.
            progress: called as (done, total) by lessons that train.

        Raises:
            UsageError: the lesson needs a run, and none is given.
            ModelError: the run is of a task that it cannot use.
        """
        given: dict[str, Any] = dict(settings or {})
        if self.needs_run:
            given["trained"] = self._usable(trained)
        if "progress" in inspect.signature(self.module.run).parameters:
            given["progress"] = progress
        return self.module.run(**given)

    def check(self, measured: Any) -> Claims:
        """Returns for each sentence of the answer whether it holds for what was measured."""
        return cast(Claims, self.module.check(measured))

    def show(self, measured: Any, language: Language) -> list[Part]:
        """Returns tables and curves of what was measured."""
        labels = self.words(language)["labels"]
        return cast(list[Part], self.module.show(measured, labels.__getitem__))

    def facts(self, measured: Any) -> dict[str, str]:
        """Returns the numbers that sentences name."""
        return cast(dict[str, str], self.module.facts(measured))

    @property
    def text(self) -> dict[str, Any]:
        """Its words: ``asked``, ``code``, ``command``, and a table for each language."""
        return read_words(self.name)

    def words(self, language: Language) -> dict[str, Any]:
        """Returns its words in one language: title, question, guess, answer, practice, labels."""
        return cast(dict[str, Any], self.text[language])

    def _usable(self, trained: Path | None) -> Path:
        if trained is None:
            raise UsageError(f"lesson {self.name!r} looks into a trained run: give one, or train the demo's first")
        from clearhead.tasks.expanded import open_run

        run = open_run(trained)
        if run.task not in self.tasks:
            task, usable = run.task, " or ".join(self.tasks)
            raise ModelError(f"lesson {self.name!r}: run {str(trained)!r} is for the task {task}, it can use {usable}")
        return run.path

    def _value(self, name: str, text: str) -> Any:
        default = self.knobs()[name]
        whole = isinstance(default, tuple)
        values = [self._number(name, part) for part in (text.split(",") if whole else [text])]
        return tuple(values) if whole else values[0]

    def _number(self, name: str, text: str) -> int | float:
        default = self.knobs()[name]
        kind = type(default[0] if isinstance(default, tuple) else default)
        low, high = SEEDS if name == "seed" else self.module.LIMITS[name]
        try:
            value = kind(text.strip())
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            rule = f"must be a number from {low} to {high}"
            if kind is int:
                rule = f"must be a whole number from {low} to {high}"
            raise UsageError(f"lesson {self.name!r}: {name} = {text.strip()!r}: {rule}")
        return cast(int | float, value)


def lessons_of(theme: str) -> Iterator[str]:
    """Yields the names of the lessons of a theme, in order."""
    yield from (name for name, its in LESSONS.items() if its == theme)
