"""The line of a user's program that is running: which one called what is being watched."""

import functools
import sys
from pathlib import Path

import torch

_PACKAGE = Path(torch.__file__).resolve().parent.parent
_NOT_THEIRS = (str(_PACKAGE / "torch"), str(Path(__file__).resolve().parent), "<")
_WRAPPERS = ("jaxtyping", "beartype", "contextlib.py")


def caller() -> str:
    """Returns ``file:line function`` of the innermost frame that is neither PyTorch's nor the watcher's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not _theirs(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{_short(frame.f_code.co_filename)}:{frame.f_lineno} {frame.f_code.co_name}"


@functools.cache
def _theirs(file: str) -> bool:
    return not file.startswith(_NOT_THEIRS) and not any(f"/{name}" in file.replace("\\", "/") for name in _WRAPPERS)


@functools.cache
def _short(file: str) -> str:
    """The path below the folder that Python imports it from, or below the current one."""
    path = Path(file)
    roots = [Path(entry or ".").resolve() for entry in sys.path]
    inside = [path.relative_to(root) for root in roots if path.is_relative_to(root)]
    return str(min(inside, key=lambda one: len(one.parts), default=path))
