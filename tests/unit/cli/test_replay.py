"""The verb without a failed step: one line; what it says of one is tested beside ``tasks.replay``."""

from pathlib import Path

import pytest

from tests.toy import assert_one_line, clearhead


def test_a_run_that_did_not_fail(toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_line(clearhead(capsys, "replay", toy_run), 4, "has no step to replay")
    assert_one_line(clearhead(capsys, "replay", tmp_path / "none"), 4, "no such directory")
