"""Reports of progress: the type of the callbacks, and the default that ignores them."""

from collections.abc import Callable

Progress = Callable[[int, int], object]
"""Called with how much is done and how much there is in all, both in the unit that the caller documents."""


def silent(*_arguments: object) -> None:
    """Ignores its arguments: the default of callbacks that need not be given."""
