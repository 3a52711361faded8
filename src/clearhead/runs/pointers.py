"""Which checkpoint a run points to: ``best`` and ``latest``, small files beside the checkpoints."""

from pathlib import Path

from clearhead.checkpoint import (
    checkpoints_of,
)
from clearhead.errors import DataError, ModelError
from clearhead.files import write_whole


def find_checkpoint(run: Path, which: str = "best") -> Path | None:
    """Returns the checkpoint that ``which`` names (best, latest or a directory's name), or None if there is none yet.

    If the run has no best checkpoint yet, ``best`` returns the latest. ``run`` may also be a checkpoint directory, as
    that contains everything needed to use the model; it is then returned itself.

    Raises:
        ModelError: ``which``, or the pointer of that name, names a checkpoint that does not exist.
    """
    if (run / "manifest.json").is_file():
        return run
    pointer = run / "checkpoints" / which
    if pointer.is_dir():
        return pointer
    known = ", ".join(path.name for path in checkpoints_of(run)) or "none"
    if pointer.is_file():
        name = pointer.read_text(encoding="utf-8", errors="replace").strip()
        if not name or not (run / "checkpoints" / name).is_dir():
            raise ModelError(f"{str(pointer)!r} names the checkpoint {name!r}, which is not there; there is {known}")
        return run / "checkpoints" / name
    if which == "best":
        return find_checkpoint(run, "latest")
    if which == "latest":  # the pointer moves last: a first checkpoint may be whole without it
        return checkpoints_of(run)[-1] if known != "none" else None
    raise ModelError(f"run {str(run)!r} has no checkpoint {which!r}; it has {known}")


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
