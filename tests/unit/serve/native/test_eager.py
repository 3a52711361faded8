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


def test_a_file_of_whole_weights_is_the_run_again(toy_run: Path, tmp_path: Path) -> None:
    file = export_run(toy_run, tmp_path / "mt.clearhead", target="file", certify=Certify(lines=0))
    eager, own = Eager(file), Eager(toy_run)
    assert eager.opened() is eager.opened()
    text = "他喝水。"
    assert eager.opened().trained.translate(text) == own.opened().trained.translate(text)
    file.unlink()
    export_run(toy_run, file, target="file", certify=Certify(lines=0), checkpoint="step-00000080")
    assert eager.opened().trained.step == 80, "another file came in its place"


def test_a_file_of_rounded_weights_has_nothing_to_look_into(toy_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "mt.clearhead"
    export_run(toy_run, file, target="file", quantize="int8", certify=Certify(lines=0))
    with pytest.raises(ModelError, match="holds int8 weights"):
        Eager(file).opened()


def test_nor_has_a_run_without_pytorch(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearhead.verbs.quick.has_torch", lambda: False)
    with pytest.raises(ModelError, match="takes PyTorch, which is not installed"):
        Eager(toy_run).opened()
