"""What verbs learn of a trained model: a small file each, beside the checkpoints of its run."""

from pathlib import Path

from clearhead.errors import ModelError
from clearhead.files import read_small, write_whole


def keep_learned(path: Path, content: bytes) -> None:
    """Writes such a file in the place of an older one; raises ModelError if that fails."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be written: {error.strerror}") from error


def read_learned(path: Path, most: int) -> bytes | None:
    """Reads such a file, of at most so many bytes; None if there is none.

    Raises:
        ModelError: it cannot be read, or is larger.
    """
    if not path.exists():
        return None
    try:
        return read_small(path, most)
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error}") from error
