"""Packed weights have a name that stands for what they are made of, and those unused for long make room."""

import os
import shutil
from pathlib import Path

from clearhead.manifest import weights_file
from clearhead.runs.cache import cache_folder
from clearhead.runs.packed import make_room, packed_path
from clearhead.runs.pointers import find_checkpoint


def test_the_name_stands_for_run_checkpoint_and_kind(toy_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    first = packed_path(run, "best", kind="float32 1")
    assert first is not None
    assert first.parent == cache_folder() / "packed"
    assert packed_path(run, "best", kind="float32 1") == first
    others = {packed_path(run, "best", kind="int8 1"), packed_path(toy_run, "best", kind="float32 1")}
    best = find_checkpoint(run)
    assert best is not None
    os.utime(weights_file(best), (1, 1))
    others.add(packed_path(run, "best", kind="float32 1"))
    (run / "recipe.toml").write_text((run / "recipe.toml").read_text() + "\n")
    others.add(packed_path(run, "best", kind="float32 1"))
    assert len(others | {first}) == 5
    assert packed_path(run, "step-00000099", kind="float32 1") is None
    assert packed_path(tmp_path, "best", kind="float32 1") is None


def test_the_longest_unused_make_room(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / f"{number}.clearhead"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 + number % 3, 1000 + number % 3))
    (tmp_path / "other").write_bytes(bytes(1000))
    make_room(tmp_path, 250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.clearhead", "2.clearhead", "other"]
