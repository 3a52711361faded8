"""Folders of encoded data: built in a temporary folder, renamed once complete, and checked when opened."""

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from clearhead.errors import DataError

T = TypeVar("T")


@contextlib.contextmanager
def building(path: Path) -> Iterator[Path]:
    """Yields an empty folder to write to and renames it to ``path`` at the end; after an exception nothing is left.

    Raises:
        DataError: the disk is full or the folder cannot be written.
    """
    cache_dir = path.parent
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=cache_dir, ignore_cleanup_errors=True) as scratch:
            built = Path(scratch) / "data"
            built.mkdir()
            yield built
            shutil.rmtree(path, ignore_errors=True)
            _rename(built, path)
    except OSError as error:
        raise DataError(f"encoded data cannot be written to {str(cache_dir)!r}: {error.strerror}") from error


def open_or_build(
    key: Sequence[object], cache_dir: Path, *, reuse: bool, read: Callable[[Path], T], write: Callable[[Path], None]
) -> T:
    """Opens the data that ``key`` identifies; builds it first if it is missing or damaged.

    Args:
        key: kind, version, and all that the data depends on; JSON values.
        cache_dir: folder of all encoded data.
        reuse: whether existing data may be used.
        read: opens a folder; raises DataError if it is damaged.
        write: fills an empty folder.
    """
    path = cache_dir / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    if reuse and path.exists():
        with contextlib.suppress(DataError):  # damaged: encode anew
            return read(path)
    with building(path) as folder:
        write(folder)
    return read(path)


def seal(folder: Path, meta: dict[str, Any], *, version: int) -> None:
    """Flushes the files of ``folder`` to disk, then writes ``meta`` and the sizes of the files as the last file."""
    sizes = {}
    for file in sorted(folder.iterdir()):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
        sizes[file.name] = file.stat().st_size
    (folder / "meta.json").write_text(json.dumps({"format": version, "sizes": sizes, **meta}, indent=1))


def open_sealed(path: Path, *, version: int) -> dict[str, Any]:
    """Returns the ``meta`` that ``seal`` wrote, after checking version and file sizes.

    Raises:
        DataError: the folder is damaged, or of another version.
    """
    try:
        meta: dict[str, Any] = json.loads((path / "meta.json").read_bytes())
        sizes = {name: (path / name).stat().st_size for name in meta["sizes"]}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"encoded data {str(path)!r} cannot be read ({error}); delete the folder") from error
    if meta["format"] != version or sizes != meta["sizes"]:
        raise DataError(f"encoded data {str(path)!r} is damaged or of another version; delete the folder")
    return meta


def map_file(path: Path) -> mmap.mmap:
    """Maps a file into memory, for reading."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _rename(built: Path, path: Path) -> None:
    try:
        built.rename(path)
    except OSError:
        if not path.is_dir():  # otherwise another process has just built the same data
            raise
