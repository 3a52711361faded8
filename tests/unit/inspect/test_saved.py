"""Saved forms against the files themselves."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clearhead.checkpoint import Checkpoint, save_checkpoint
from clearhead.errors import ModelError
from clearhead.inspect.saved import checkpoint


@pytest.fixture
def full(tmp_path: Path) -> Path:
    tensors = {
        "model": {"w": torch.ones(2, 3), "b": torch.ones(3)},
        "optimizer": {"exp_avg/w": torch.ones(2, 3), "exp_avg/b": torch.ones(3), "step/w": torch.ones(())},
    }
    save_checkpoint(tmp_path / "full", Checkpoint(tensors, {"step": 3, "epoch": 0}))
    return tmp_path / "full"


def test_a_full_checkpoint(full: Path) -> None:
    (form,) = checkpoint(full, missing=("cos",)).forms
    assert form.form == "full checkpoint"
    assert form.bytes == sum(path.stat().st_size for path in full.rglob("*") if path.is_file())
    by_name = {file.name: file for file in form.files}
    own = load_file(full / "model.safetensors")
    assert by_name["model.safetensors"].tensors == len(own)
    assert by_name["model.safetensors"].numbers == sum(tensor.numel() for tensor in own.values())
    assert by_name["optimizer.safetensors"].kinds == {"exp_avg": 2, "step": 1}
    assert by_name["state.json"].holds == "where training is: step, epoch"
    text = "\n".join(checkpoint(full, missing=("cos",)).lines(80))
    assert "enough for: going on with training" in text
    assert "in none, made anew from the config: cos" in text


def test_weights_only_and_exported(full: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "weights", Checkpoint({"model": {"w": torch.ones(1)}}, {"step": 1}))
    (tmp_path / "hf").mkdir()
    save_file({"w": torch.ones(1)}, tmp_path / "hf" / "model.safetensors")
    (tmp_path / "hf" / "config.json").write_text("{}")
    assert [form.form for form in checkpoint(tmp_path / "weights", tmp_path / "hf").forms] == [
        "weights only",
        "exported",
    ]


def test_what_is_no_saved_form(full: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such directory"):
        checkpoint(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no weights"):
        checkpoint(tmp_path / "empty")
    damaged = shutil.copytree(full, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ModelError, match=r"'.*model.safetensors' is damaged"):
        checkpoint(damaged)
