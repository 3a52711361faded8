"""The views of ``clearhead inspect``: which function makes each of a run."""

from collections.abc import Callable

from clearhead.inspect.modules import model
from clearhead.inspect.report import View
from clearhead.tasks.inspection import Opened


def model_of(opened: Opened) -> View:
    """See ``inspect.modules.model``."""
    return model(opened.model, opened.inputs, tokens=opened.tokens)


VIEWS: dict[str, Callable[[Opened], View]] = {
    "model": model_of,
}
"""By the word of the command line; ``cli/inspect.py`` has a line of help for each."""
