"""A plugin of pytest: the tests of this process take the native library in the folder that SANITIZED names."""

import os
from pathlib import Path

import pytest


def pytest_sessionstart(session: pytest.Session) -> None:
    from clearhead.engine import build

    build.LIBRARY = Path(os.environ["SANITIZED"]) / build.LIBRARY.name
    build.STAMP = build.LIBRARY.with_suffix(".sha256")
