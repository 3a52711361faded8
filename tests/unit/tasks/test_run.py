"""Run directories and presets: found, numbered, never overwritten, named when wrong."""

import os
from pathlib import Path

import pytest

from clearhead.config import read_toml
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.tasks.run import (
    cache_folder,
    create_run,
    load_recipe,
    new_run,
    preset_names,
    presets_folder,
    read_recipe,
    save_recipe,
    write_text,
)
from clearhead.version import VERSION


def test_a_preset_is_found_by_name_and_a_file_by_path(tmp_path: Path) -> None:
    assert {"demo", "translate-tiny"} <= set(preset_names())
    demo = read_toml(presets_folder() / "demo.toml")
    found = read_recipe("demo", ["train.lr=0.5", "new.key=x"])
    assert found["train"] == {**demo["train"], "lr": 0.5}
    assert (found["name"], found["new"]) == ("demo", {"key": "x"})
    (tmp_path / "mine.toml").write_text("[train]\nlr = 1\n")
    assert read_recipe(tmp_path / "mine.toml") == {"name": "mine", "train": {"lr": 1}}
    with pytest.raises(UsageError, match="recipe 'dmo': neither a file nor a preset; did you mean 'demo'"):
        read_recipe("dmo")


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


def test_what_is_no_run_is_said_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "toy-001").mkdir()
    with pytest.raises(ModelError, match=r"is not a run directory: it has no recipe\.toml"):
        load_recipe(tmp_path / "toy-001")
    save_recipe(tmp_path / "toy-001", {})
    with pytest.raises(ModelError, match="no such directory; did you mean 'toy-001'"):
        load_recipe(tmp_path / "toy-01")
    (tmp_path / "toy-001" / "recipe.toml").write_text("x =")
    with pytest.raises((ModelError, UsageError), match=r"recipe\.toml' is not valid TOML"):
        load_recipe(tmp_path / "toy-001")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere/x' cannot be written: No such file"):
        write_text(tmp_path / "nowhere" / "x", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_named() -> None:
    with pytest.raises(DataError, match="'/dev/full' cannot be written: No space left on device"):
        write_text(Path("/dev/full"), "x")


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("HOME", "/somebody")
    assert cache_folder() == tmp_path
    monkeypatch.delenv("CLEARHEAD_CACHE")
    assert cache_folder() == Path("/xdg/clearhead")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/somebody/.cache/clearhead")
