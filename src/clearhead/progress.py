"""Reports of progress: the type of the callbacks, and the default that ignores them; what asks whether to go on."""

from collections.abc import Callable
from contextvars import ContextVar

Progress = Callable[[int, int], object]
"""Called with how much is done and how much there is in all, both in the unit that the caller documents."""


def silent(*_arguments: object) -> None:
    """Ignores its arguments: the default of callbacks that need not be given."""


GOING_ON: ContextVar[Callable[[], object]] = ContextVar("going_on", default=silent)
"""Called by a search of PyTorch before each step: it raises where nobody wants the outcome any more."""
