"""``clearhead average``: one checkpoint out of the last ones, for every verb to use."""

import shutil
from pathlib import Path

import pytest
import torch

from clearhead.checkpoint import load_checkpoint
from clearhead.manifest import checkpoints_of
from tests.toy import assert_one_line, clearhead


def test_the_mean_of_the_last_ones_is_a_checkpoint(
    toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    said = clearhead(capsys, "average", run, "--last", "2")
    assert (said.code, said.out) == (0, "average-2: the mean of step-00000080, step-00000120\n")
    last, mean = checkpoints_of(run)[-2:], load_checkpoint(run / "checkpoints" / "average-2")
    tensors = [load_checkpoint(path).tensors["model"] for path in last]
    for name, tensor in mean.tensors["model"].items():
        torch.testing.assert_close(tensor, (tensors[0][name] + tensors[1][name]) / 2)
    assert clearhead(capsys, "translate", run, "我", "--checkpoint", "average-2").code == 0
    said = clearhead(capsys, "average", run)
    assert_one_line(said, 2, "--last 5: the run has 3 checkpoints; raise train.keep_last")
