"""A run is opened without PyTorch where that can do what is asked, and a file says what it cannot."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.engine.rows import NativeModel
from clearhead.errors import ModelError, UsageError
from clearhead.tasks.packed import kept
from clearhead.tasks.translation.packed import PackedTranslator
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs import quick
from clearhead.verbs.quick import open_translator, packed_file
from tests.native import NATIVE

pytestmark = NATIVE
WORDS: dict[str, Any] = {"checkpoint": "best", "device": "cpu", "weights": "float32", "engine": "auto"}


@pytest.fixture(scope="module")
def file(toy_run: Path) -> Path:
    assert isinstance(Translator.load(toy_run, device="cpu").writer, NativeModel)
    file = kept(toy_run, "best", "float32")
    assert file is not None
    return file.path


def test_a_packed_run_is_opened_without_pytorch(file: Path, toy_run: Path) -> None:
    for run in (toy_run, file):
        assert isinstance(open_translator(run, **WORDS), PackedTranslator)


@pytest.mark.parametrize(
    "change", [{"engine": "torch"}, {"weights": "int8"}, {"checkpoint": "latest", "engine": "torch"}, {"inside": True}]
)
def test_else_a_run_is_loaded(change: dict[str, Any], file: Path, toy_run: Path, tmp_path: Path) -> None:
    words = {**WORDS, **change}
    inside = words.pop("inside", False)
    assert isinstance(open_translator(toy_run, **words, looks_inside=inside), Translator)


def test_a_gpu_may_be_there(file: Path, toy_run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = {**WORDS, "device": "auto"}
    monkeypatch.setattr(quick, "ACCELERATORS", (str(tmp_path),))
    assert packed_file(toy_run, **words) is None
    monkeypatch.setattr(quick, "ACCELERATORS", (str(tmp_path / "none"),))
    assert packed_file(toy_run, **words) is not None


def test_a_file_says_what_it_cannot_do(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for change, match in (({"engine": "torch"}, "engine = 'torch'"), ({"device": "cuda"}, "device = 'cuda'")):
        with pytest.raises(UsageError, match=f"{match}: .* holds weights of the native engine, for a CPU"):
            packed_file(file, **{**WORDS, **change})
    monkeypatch.setenv("CLEARHEAD_ENGINE", "off")
    with pytest.raises(ModelError, match="is for the native engine: CLEARHEAD_ENGINE is off"):
        packed_file(file, **WORDS)
