"""Where encoded corpora are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where encoded corpora are kept: CLEARHEAD_CACHE, or the user's cache folder."""
    named = os.environ.get("CLEARHEAD_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clearhead"
