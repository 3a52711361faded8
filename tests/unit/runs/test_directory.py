"""Run directories: new ones, and files in them."""

import os
from pathlib import Path

import pytest

from clearhead.errors import DataError, UsageError
from clearhead.runs.directory import create_run, new_run, write_text
from clearhead.runs.recipes import load_recipe, save_recipe
from clearhead.version import VERSION


def test_new_runs_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "runs" / "toy-002").mkdir(parents=True)
    assert [new_run("toy", tmp_path / "runs").name for _ in range(3)] == ["toy-001", "toy-003", "toy-004"]
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made: Not a directory"):
        new_run("toy", tmp_path / "file")


def test_a_run_takes_an_empty_or_missing_directory_only(tmp_path: Path) -> None:
    for name in ("missing", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert create_run(tmp_path / name).is_dir()
    save_recipe(tmp_path / "empty", {"name": "x", "train": {"lr": 0.1}})
    with pytest.raises(UsageError, match="exists: add --resume"):
        create_run(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is taken by something else"):
        create_run(tmp_path / "file")
    assert load_recipe(tmp_path / "empty") == {"clearhead": VERSION, "name": "x", "train": {"lr": 0.1}}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere/x' cannot be written: No such file"):
        write_text(tmp_path / "nowhere" / "x", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_named() -> None:
    with pytest.raises(DataError, match="'/dev/full' cannot be written: No space left on device"):
        write_text(Path("/dev/full"), "x")
