"""The cache folder of encoded corpora, and where text is encoded that needs to be read only once."""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

from clearhead.errors import DataError


def cache_folder() -> Path:
    """Returns the folder of encoded corpora: CLEARHEAD_CACHE, or one in the user's cache folder."""
    folder = os.environ.get("CLEARHEAD_CACHE")
    if folder:
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clearhead"


def scored_folder() -> Path:
    """Returns the folder for encoded text that is scored; see ``working_folder``."""
    return working_folder("data")


def working_folder(name: str) -> Path:
    """Returns a folder of the cache, or a temporary one where that cannot be written.

    The temporary folder is removed when the process ends.

    Raises:
        DataError: no temporary folder can be made either.
    """
    folder = cache_folder() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError:
        return _temporary()
    return folder


@functools.cache
def _temporary() -> Path:
    try:
        folder = tempfile.mkdtemp(prefix="clearhead-")
    except OSError as error:
        raise DataError(
            f"neither the cache {str(cache_folder())!r} nor a temporary folder can be written ({error.strerror}): "
            "set CLEARHEAD_CACHE or TMPDIR"
        ) from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
