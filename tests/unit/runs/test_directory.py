"""Run directories: new ones, and files in them."""

import os
from pathlib import Path

import pytest

from clearhead.errors import DataError, UsageError
from clearhead.runs.directory import check_free, create_run, listed, new_run, runs_in, text_digests, write_text
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


def test_runs_of_several_seeds_are_gone_on_with_and_other_folders_left_alone(tmp_path: Path) -> None:
    for name in ("seed-0", "scratch-fold-1-seed-12"):
        (tmp_path / name / name).mkdir(parents=True)  # created, and not begun
        with pytest.raises(UsageError, match=rf"^folder '{tmp_path / name}' holds several runs: add --resume"):
            check_free(tmp_path / name)
        assert runs_in(tmp_path / name) == [name]
    for name in ("mine", "seeds", "seed-x"):
        (tmp_path / name / name).mkdir(parents=True)
        with pytest.raises(UsageError, match="is taken by something else"):
            check_free(tmp_path / name)
        assert runs_in(tmp_path / name) == []
    save_recipe(tmp_path / "mine" / "mine", {})
    assert runs_in(tmp_path / "mine") == ["mine"]
    with pytest.raises(UsageError, match="is taken by something else"):
        check_free(tmp_path / "mine")
    (tmp_path / "mine" / "mine" / "checkpoints" / "step-1").mkdir(parents=True)
    save_recipe(tmp_path / "mine" / "mine" / "checkpoints" / "step-1", {})
    assert runs_in(tmp_path / "mine" / "mine" / "checkpoints") == []
    assert listed(["a", "b"]) == "a, b"
    assert listed([*"abcdefghi"]) == "a, b, c, d, e, f, g, h, ..."


def test_what_a_run_was_trained_with_is_read_as_far_as_it_says_so(tmp_path: Path) -> None:
    assert text_digests(tmp_path) == {}
    for text in ("[1]", "{", '{"train": 3}', '{"train": null}'):
        (tmp_path / "data-report.json").write_text(text)
        assert text_digests(tmp_path) == {}
    (tmp_path / "data-report.json").write_text(
        '{"train": {"digest": "a-b+c-d"}, "valid": {"digest": null}, "test": {}}'
    )
    assert text_digests(tmp_path) == {"train": "a-b+c-d"}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere/x' cannot be written: No such file"):
        write_text(tmp_path / "nowhere" / "x", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_named() -> None:
    with pytest.raises(DataError, match="'/dev/full' cannot be written: No space left on device"):
        write_text(Path("/dev/full"), "x")
