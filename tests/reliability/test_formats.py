"""Checkpoints of earlier formats load for ever: each is kept here as it was written, a whole run of few bytes."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from clearhead.checkpoint import FORMAT, load_checkpoint
from clearhead.runs.listing import saved_checkpoints
from clearhead.tasks.translation.translator import Translator
from clearhead.training.writers import read_metrics
from clearhead.verbs.train import train

FORMATS = sorted(Path(__file__).parent.glob("format-*"))


def test_there_is_one_of_every_format() -> None:
    assert [folder.name for folder in FORMATS] == [f"format-{number}" for number in range(1, FORMAT + 1)]
    for number, folder in enumerate(FORMATS, 1):
        (state,) = (json.loads(path.read_text()) for path in folder.glob("run/checkpoints/step-*/state.json"))
        assert state["format"] == number


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_it_loads_translates_and_goes_on(folder: Path, tmp_path: Path) -> None:
    """It trains on to the losses that it was written with, but for the floats of another machine."""
    expected = json.loads((folder / "expected.json").read_text())
    run = shutil.copytree(folder / "run", tmp_path / "run")
    (kept,) = saved_checkpoints(run, verify=True)
    assert (kept.step, kept.marks, kept.problem) == (6, ["best", "latest"], "")
    saved = load_checkpoint(kept.path)
    assert set(saved.tensors) == {"model", "ema", "optimizer"}
    assert all(torch.isfinite(tensor).all() for tensors in saved.tensors.values() for tensor in tensors.values())
    assert saved.state["scores"] == expected["scores"]
    translator = Translator.load(run, device="cpu")
    assert len(translator.translate(["我喜欢苹果。"], beam=2)) == 1
    result = train(run / "recipe.toml", data=folder / "data", out=run, resume=True, overrides=["train.max_steps=9"])
    assert result.step == 9
    losses = {str(one["step"]): one["loss"] for one in read_metrics(run / "metrics.jsonl") if one["event"] == "stepped"}
    assert losses == pytest.approx(expected["losses"], abs=1e-4)
