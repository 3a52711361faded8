"""Small files written atomically: after a crash the old or the new content is there, never a part of it."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from clearhead.errors import ModelError
from clearhead.ranges import TOO_DEEP, too_deep


def write_whole(path: Path, content: bytes) -> None:
    """Replaces ``path`` atomically: writes ``content`` to a temporary file, flushes it to disk and renames it.

    Raises:
        OSError: the disk is full or the file cannot be written; the old file is unchanged.
    """
    if path.exists() and not path.is_file():  # a device or a pipe, which must not be replaced by a file
        path.write_bytes(content)
        return
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.replace(path)
    except OSError:
        remove(temporary)
        raise
    sync(path.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file that replaces ``path`` atomically at the end; after an error ``path`` is unchanged.

    Raises:
        OSError: the file cannot be written.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        remove(temporary)
        raise
    sync(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON table.

    Raises:
        ModelError: it is missing, or something else.
    """
    tree = _json(path)
    if not isinstance(tree, dict):
        raise ModelError(f"{str(path)!r} is not a table")
    return tree


def read_json_list(path: Path) -> list[Any]:
    """Reads a JSON list; raises as ``read_json`` does."""
    items = _json(path)
    if not isinstance(items, list):
        raise ModelError(f"{str(path)!r} is not a list")
    return items


def _json(path: Path) -> Any:
    try:
        tree = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise ModelError(f"{str(path)!r}: {TOO_DEEP}") from error
    except ValueError as error:
        raise ModelError(f"{str(path)!r} is not JSON: {str(error).partition(' for integer')[0]}") from error
    if too_deep(tree):
        raise ModelError(f"{str(path)!r}: {TOO_DEEP}")
    return tree


def sync(path: Path) -> None:
    """Flushes a file, or the file names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Deletes a file; does nothing if it does not exist or cannot be deleted."""
    with contextlib.suppress(OSError):
        path.unlink()
