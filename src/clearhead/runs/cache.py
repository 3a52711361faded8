"""The cache folder of encoded corpora."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Returns the folder of encoded corpora: CLEARHEAD_CACHE, or one in the user's cache folder."""
    folder = os.environ.get("CLEARHEAD_CACHE")
    if folder:
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clearhead"
