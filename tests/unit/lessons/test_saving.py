"""The lesson on saving is red for a checkpoint without its optimizer, and for weights that are not loaded."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from clearhead.checkpoint import Checkpoint
from clearhead.lessons import saving
from tests.lessons import failing


def test_a_checkpoint_without_its_optimizer_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint = saving.save_checkpoint

    def lacking(path: Path, checkpoint: Checkpoint) -> None:
        save_checkpoint(path, dataclasses.replace(checkpoint, tensors={"model": checkpoint.tensors["model"]}))

    monkeypatch.setattr(saving, "save_checkpoint", lacking)
    assert failing("saving") == {"full"}


def test_weights_that_are_not_loaded_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def unchanged(model: saving.GPT, *weights: Any, **more: Any) -> None:
        """Loads nothing, as a prefix that nobody noticed does under ``strict=False``."""

    monkeypatch.setattr(saving.GPT, "load_state_dict", unchanged)
    assert failing("saving") == {"weights"}


def test_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(saving, "scored_folder", lambda: tmp_path)
    assert failing("saving") == set()
    assert list(tmp_path.iterdir()) == []
