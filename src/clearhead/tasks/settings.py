"""Settings of a call as a recipe's are: the same values, the same lines about wrong ones."""

import contextlib
import json
from typing import TypeVar

from clearhead.arguments import fitted
from clearhead.config import as_tree, parse
from clearhead.errors import UsageError

Settings = TypeVar("Settings")


def settled(config: Settings, *, source: str) -> Settings:
    """Returns settings as ``parse`` gives them, which is loaded only for those that may be wrong, to say what is.

    Args:
        config: a dataclass of numbers and texts.
        source: see ``parse``.

    Raises:
        UsageError: see ``parse``.
    """
    tree = as_tree(config)
    with contextlib.suppress(UsageError, TypeError, ValueError):
        json.dumps(tree, ensure_ascii=False, allow_nan=False).encode()  # what JSON cannot hold, ``parse`` refuses
        return fitted(config)
    return parse(type(config), tree, source=source)
