"""The line of a user's program that led to the operator which is running."""

import functools
import sys
from pathlib import Path

import torch

_PACKAGE = Path(torch.__file__).resolve().parent.parent
_SKIPPED = (str(_PACKAGE / "torch"), str(Path(__file__).resolve().parent), "<")
_WRAPPERS = ("jaxtyping", "beartype", "contextlib.py")


def caller(watcher: str = "") -> str:
    """Returns ``file:line function`` of the innermost frame that is neither PyTorch's nor the watcher's.

    Args:
        watcher: folder of the modules that watch; those of this package are left out anyway.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and not _is_users(frame.f_code.co_filename, watcher):
        frame = frame.f_back
    return f"{_short(frame.f_code.co_filename)}:{frame.f_lineno} {frame.f_code.co_name}"


@functools.cache
def _is_users(file: str, watcher: str) -> bool:
    skipped = (*_SKIPPED, watcher) if watcher else _SKIPPED
    return not file.startswith(skipped) and not any(f"/{name}" in file.replace("\\", "/") for name in _WRAPPERS)


@functools.cache
def _short(file: str) -> str:
    """The path below the folder that Python imports it from, or below the current one."""
    path = Path(file)
    roots = [Path(entry or ".").resolve() for entry in sys.path]
    relative = [path.relative_to(root) for root in roots if path.is_relative_to(root)]
    return str(min(relative, key=lambda candidate: len(candidate.parts), default=path))
