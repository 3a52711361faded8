"""A run by PyTorch beside the model that is served: opened once, and again when there is a better checkpoint."""

import shutil
from pathlib import Path

import pytest

from clearhead.errors import ModelError
from clearhead.serve.native.eager import Eager
from clearhead.verbs.exports.run import Certify, export_run


def test_it_is_opened_once_and_again_for_another_checkpoint(toy_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(toy_run, tmp_path / "run", symlinks=True)
    eager = Eager(run)
    first = eager.opened()
    assert eager.opened() is first
    assert first.trained.step == 120
    best = run / "checkpoints" / "best"
    best.unlink()
    best.symlink_to("step-00000080")
    assert eager.opened() is not first
    assert eager.opened().trained.step == 80


def test_a_file_has_nothing_to_look_into(toy_run: Path, tmp_path: Path) -> None:
    file = export_run(toy_run, tmp_path / "mt.clearhead", target="file", certify=Certify(lines=0))
    with pytest.raises(ModelError, match="is a file without a run"):
        Eager(file).opened()


def test_nor_is_there_without_pytorch(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearhead.verbs.quick.has_torch", lambda: False)
    with pytest.raises(ModelError, match="takes PyTorch, which is not installed"):
        Eager(toy_run).opened()
