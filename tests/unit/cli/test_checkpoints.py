"""``clearhead checkpoints``: a table, JSON, and an exit code for damage."""

import json
import shutil
from pathlib import Path

import pytest

from tests.toy import clearhead


def test_the_table_has_a_line_for_each(toy_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "checkpoints", toy_run, "--verify")
    assert (said.code, said.err) == (0, "")
    head, *lines = said.out.splitlines()
    assert head.split() == [
        "checkpoint", "step", "score", "ema", "model", "optimizer", "exp_avg", "optimizer", "exp_avg_sq", "optimizer",
        "step", "all",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines] == [f"step-{step:08d}" for step in (40, 80, 120)]
    assert lines[-1].endswith("best, latest, whole")
    assert " loss " in lines[-1]


def test_json_and_a_damaged_one(toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    for step in (80, 120):
        (run / "checkpoints" / f"step-{step:08d}" / "ema.safetensors").write_bytes(b"")
    said = clearhead(capsys, "checkpoints", run, "--verify", "--json")
    assert said.code == 4
    assert [bool(one["problem"]) for one in json.loads(said.out)] == [False, True, True]
    assert [line.startswith("clearhead: checkpoint file") for line in said.err.splitlines()] == [True, True]
    table = clearhead(capsys, "checkpoints", run, "--verify").out.splitlines()
    assert [line.endswith("DAMAGED") for line in table] == [False, False, True, True]


def test_a_run_without_any(toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(toy_run / "recipe.toml", tmp_path)
    said = clearhead(capsys, "checkpoints", tmp_path)
    assert (said.code, said.out) == (0, "no checkpoints\n")
