"""What a run keeps: steps, scores and sizes are those of the files, and damage is found."""

import json
import shutil
from pathlib import Path

import pytest

from clearhead.checkpoint import load_checkpoint
from clearhead.errors import ModelError
from clearhead.runs.listing import other_problems, saved_checkpoints


@pytest.mark.long
def test_sizes_are_those_of_the_tensors(toy_run: Path) -> None:
    found = saved_checkpoints(toy_run, verify=True)
    assert [one.step for one in found] == [40, 80, 120]
    assert [one.marks for one in found] == [[], [], ["best", "latest"]]
    assert [bool(one.scores) for one in found] == [False, False, True], "the run was judged at its end alone"
    for one in found:
        saved = load_checkpoint(one.path).tensors
        weights = sum(tensor.numel() * tensor.element_size() for tensor in saved["model"].values())
        assert one.sizes["model"] == one.sizes["ema"] == weights
        assert one.sizes["optimizer exp_avg"] == one.sizes["optimizer exp_avg_sq"] == weights
        assert sum(one.sizes.values()) < one.bytes < 1.2 * sum(one.sizes.values()) + 60_000
        assert (one.verified, one.problem) == (True, "")
        json.dumps(one.as_dict())


def test_damage_is_found_in_one_and_the_others_are_listed(toy_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    folder = run / "checkpoints"
    file = folder / "step-00000080" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    (folder / "step-00000040" / "state.json").write_text("{")
    (folder / "best").write_text("nothing")
    assert [bool(one.problem) for one in saved_checkpoints(run)] == [True, False, False], "a header is not a checksum"
    found = saved_checkpoints(run, verify=True)
    assert ["state.json" in found[0].problem, "does not match the checksum" in found[1].problem] == [True, True]
    assert [found[0].step, found[2].marks, found[2].problem] == [None, ["latest"], ""]


def test_a_state_of_any_shape_is_a_line_and_the_others_are_listed(toy_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(toy_run, tmp_path / "run")
    state = run / "checkpoints" / "step-00000080" / "state.json"
    for content in (
        b"[" * 1000 + b"]" * 1000, b"\xff", b"[]", b'{"step": "many"}', b'{"step": 1e999}',
        b'{"step": 80, "scores": 3}', b'{"step": 80, "scores": {"loss": []}}', b'{"step": ' + b"9" * 5000 + b"}",
    ):  # fmt: skip
        state.write_bytes(content)
        damaged = saved_checkpoints(run)
        assert [bool(one.problem) for one in damaged] == [False, True, False]
        assert f"{str(state)!r} is damaged" in damaged[1].problem
        assert len(damaged[1].problem) < 300 + len(str(state))


def test_a_pointer_to_nothing_and_the_runs_own_files_are_looked_at(toy_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(toy_run, tmp_path / "run")
    assert other_problems(run, verify=True) == []
    (run / "checkpoints" / "best").write_text("x" * 5000)
    file = run / "tokenizer" / "joint.json"
    file.write_bytes(file.read_bytes().replace(b"true", b"tsue", 1))
    (pointer,) = other_problems(run)
    assert f"{str(run / 'checkpoints' / 'best')!r} names the checkpoint 'xxx" in pointer
    assert other_problems(run, verify=True)[0] == pointer
    assert f"{str(file)!r} does not match the checksum" in other_problems(run, verify=True)[1]
    assert [one.marks for one in saved_checkpoints(run)] == [[], [], ["latest"]]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"it has no recipe\.toml"):
        saved_checkpoints(tmp_path)
