"""What tests of lessons share: the measurement in its short form, and which claims do not hold."""

import functools
from pathlib import Path
from typing import Any

from clearhead.lessons.lesson import Lesson


def short(name: str) -> dict[str, Any]:
    """Returns the knobs with which a lesson takes little time: ``SHORT`` of its module, if it has that."""
    return dict(getattr(Lesson(name).module, "SHORT", {}))


@functools.cache
def measured(name: str, seed: int = 0, trained: Path | None = None) -> Any:
    """Runs the short form of a lesson, once for all tests that ask for it."""
    seeded = {"seed": seed} if "seed" in Lesson(name).knobs() else {}
    return Lesson(name).measure({**short(name), **seeded}, trained=trained)


def failing(name: str, *, trained: Path | None = None, **settings: Any) -> set[str]:
    """Measures again, and returns the claims that do not hold: those that a mutation of the code turns red."""
    lesson = Lesson(name)
    claims = lesson.check(lesson.measure({**short(name), **settings}, trained=trained))
    return {key for key, holds in claims.items() if not holds}
