"""Which checkpoint a run points to: ``best`` and ``latest``, small files beside the checkpoints."""

import os
from pathlib import Path

from clearhead.errors import DataError, ModelError
from clearhead.files import write_whole
from clearhead.manifest import checkpoints_of

LONGEST = 60
"""Characters of a wrong name that a message shows."""


def find_checkpoint(run: Path, which: str = "best") -> Path | None:
    """Returns the checkpoint that ``which`` names (best, latest or a directory's name), or None if there is none yet.

    If the run has no best checkpoint yet, ``best`` returns the latest. ``run`` may also be a checkpoint directory, as
    that contains everything needed to use the model; it is then returned itself.

    Raises:
        ModelError: ``which``, or the pointer of that name, names a checkpoint that does not exist.
    """
    if (run / "manifest.json").is_file():
        return run
    known = ", ".join(path.name for path in checkpoints_of(run)) or "none"
    pointer = run / "checkpoints" / which
    if not _is_name(which):
        raise ModelError(f"run {str(run)!r} has no checkpoint {which[:LONGEST]!r}; it has {known}")
    if pointer.is_dir():
        return pointer
    if os.path.lexists(pointer):
        name = _read(pointer)
        if not _is_name(name) or not (run / "checkpoints" / name).is_dir():
            shown = name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
            raise ModelError(f"{str(pointer)!r} names the checkpoint {shown!r}, which is not there; there is {known}")
        return run / "checkpoints" / name
    if which == "best":
        return find_checkpoint(run, "latest")
    if which == "latest":  # the pointer moves last: a first checkpoint may be whole without it
        return checkpoints_of(run)[-1] if known != "none" else None
    raise ModelError(f"run {str(run)!r} has no checkpoint {which!r}; it has {known}")


def _is_name(name: str) -> bool:
    """Says whether a checkpoint can have this name: no path that leads elsewhere, and not too long for a file."""
    return bool(name) and len(name.encode("utf-8", "replace")) <= 255 and name not in (".", "..") and "/" not in name


def _read(pointer: Path) -> str:
    """Returns the name in a pointer, as far as a name can be long."""
    if not pointer.is_file():
        return ""
    try:
        with pointer.open("rb") as file:
            return file.read(4096).decode("utf-8", "replace").strip()
    except OSError as error:
        raise ModelError(f"{str(pointer)!r} cannot be read: {error.strerror}") from error


def point_to(run: Path, name: str, path: Path) -> None:
    """Makes the pointer ``name`` (latest or best) name the checkpoint at ``path``.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    pointer = run / "checkpoints" / name
    try:
        write_whole(pointer, f"{path.name}\n".encode())
    except OSError as error:
        raise DataError(f"{str(pointer)!r} cannot be written: {error.strerror}") from error
