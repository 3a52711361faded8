"""The logger: silent by itself, heard by who listens."""

import logging
import subprocess
import sys

import pytest

from clearhead.log import LOG


def test_it_prints_nothing_by_itself_and_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    code = "from clearhead.log import LOG; LOG.warning('heard')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
    with caplog.at_level(logging.INFO, "clearhead"):
        LOG.info("a step")
    assert caplog.messages == ["a step"]
