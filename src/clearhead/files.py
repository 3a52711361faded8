"""Small files that are there whole or not at all, whenever the process or the machine dies."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from clearhead.errors import ModelError


def write_whole(path: Path, content: bytes) -> None:
    """Writes ``content`` beside ``path``, brings it to the disk and renames it: a reader sees the old file or the new.

    Raises:
        OSError: the disk is full or the place cannot be written; the old file is as it was.
    """
    if path.exists() and not path.is_file():  # a device or a pipe, which nothing may take the place of
        path.write_bytes(content)
        return
    beside = path.with_name(path.name + ".tmp")
    try:
        beside.write_bytes(content)
        sync(beside)
        beside.replace(path)
    except OSError:
        remove(beside)
        raise
    sync(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON table.

    Raises:
        ModelError: it is missing, or something else.
    """
    try:
        tree = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ModelError(f"{str(path)!r} is not a table")
    return tree


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Deletes a file if it is there and may be deleted."""
    with contextlib.suppress(OSError):
        path.unlink()
