"""Which checkpoint a run points to."""

import os
from pathlib import Path

import pytest

from clearhead.errors import ModelError
from clearhead.runs.pointers import find_checkpoint
from tests.states import saved


def test_without_a_best_one_the_latest_is_meant(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path, "best") is None
    assert find_checkpoint(tmp_path, "latest") is None
    saved(tmp_path, 5)
    found = find_checkpoint(tmp_path, "best")
    assert found is not None
    assert found.name == "step-00000005"
    with pytest.raises(ModelError, match="has no checkpoint 'step-7'; it has step-00000005"):
        find_checkpoint(tmp_path, "step-7")


def test_a_pointer_to_a_checkpoint_that_is_gone_names_it(tmp_path: Path) -> None:
    saved(tmp_path, 5)
    (tmp_path / "checkpoints" / "latest").write_text("step-00000009\n")
    with pytest.raises(
        ModelError, match=r"latest' names the checkpoint 'step-00000009', which is not there; there is step-0"
    ):
        find_checkpoint(tmp_path, "latest")
    for damaged in (b"", b"\xff\n", b"step-0000000\x00"):
        (tmp_path / "checkpoints" / "latest").write_bytes(damaged)
        with pytest.raises(ModelError, match="which is not there"):
            find_checkpoint(tmp_path, "latest")
    (tmp_path / "checkpoints" / "latest").unlink()  # killed before it was made
    found = find_checkpoint(tmp_path, "latest")
    assert found is not None
    assert found.name == "step-00000005"
    assert find_checkpoint(found) == found, "a checkpoint is its own"


@pytest.mark.parametrize("content", [b"x" * 5000, b"../../elsewhere", b".", b"", b"a\0b", b"/", "步".encode() * 200])
def test_a_pointer_of_any_content_is_one_line_that_names_the_file(content: bytes, tmp_path: Path) -> None:
    saved(tmp_path / "run", 5)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "checkpoints" / "best").write_bytes(content)
    with pytest.raises(ModelError, match=r"checkpoints/best' names the checkpoint '.*', which is not there") as caught:
        find_checkpoint(tmp_path / "run")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_a_pointer_to_nothing_or_as_large_as_a_disk_is_named_too(tmp_path: Path) -> None:
    saved(tmp_path, 5)
    best = tmp_path / "checkpoints" / "best"
    best.unlink(missing_ok=True)
    best.symlink_to(tmp_path / "nothing")
    with pytest.raises(ModelError, match="best' names the checkpoint '', which is not there"):
        find_checkpoint(tmp_path)
    best.unlink()
    best.touch()
    os.truncate(best, 3 << 30)
    with pytest.raises(ModelError, match=r"best' names the checkpoint '.x00.*\.\.\.', which is not there"):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["x" * 5000, "../checkpoints/step-00000005", "", "a/b", "."])
def test_a_name_that_no_checkpoint_can_have_is_refused(name: str, tmp_path: Path) -> None:
    saved(tmp_path, 5)
    with pytest.raises(ModelError, match=r"has no checkpoint '.*'; it has step-00000005"):
        find_checkpoint(tmp_path, name)
