"""A run is opened without PyTorch where that can do what is asked, and a file says what it cannot."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.engine.rows import NativeModel
from clearhead.errors import ModelError, UsageError
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.packed import PackedClassifier
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.ngram import NgramLanguageModel
from clearhead.tasks.language_model.packed import PackedLanguageModel
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.packed import PackedMaskedModel
from clearhead.tasks.packed import kept
from clearhead.tasks.translation.packed import PackedTranslator
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs import quick
from clearhead.verbs.quick import (
    open_classifier,
    open_language_model,
    open_masked_model,
    open_translator,
    packed_file,
)
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


def test_packed_runs_that_read_texts_are_opened_without_pytorch(toy_masked_run: Path, toy_classifier: Path) -> None:
    ways: list[tuple[Any, Any, Any, Path]] = [
        (open_masked_model, MaskedModel, PackedMaskedModel, toy_masked_run),
        (open_classifier, Classifier, PackedClassifier, toy_classifier),
    ]
    for opened, loaded, packed, run in ways:
        assert loaded.load(run, device="cpu")._native is not None
        file = kept(run, "best", "float32")
        assert file is not None
        assert isinstance(opened(run, **WORDS), packed)
        assert isinstance(opened(file.path, **WORDS), packed)
        assert isinstance(opened(run, **{**WORDS, "engine": "torch"}), loaded)


def test_a_packed_run_for_another_verb_is_told_it(file: Path, toy_run: Path) -> None:
    for opened in (open_masked_model, open_classifier):
        with pytest.raises(ModelError, match=r"is for the task translation, .*: use clearhead translate"):
            opened(toy_run, **WORDS)
        with pytest.raises(ModelError, match="is a model for translation, not for"):
            opened(file, **WORDS)


@pytest.mark.parametrize("change", [{"engine": "torch"}, {"checkpoint": "latest", "engine": "torch"}, {"inside": True}])
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
    with pytest.raises(UsageError, match=r"weights = 'int8': .* holds float32"):
        packed_file(file, **{**WORDS, "weights": "int8"})
    monkeypatch.setenv("CLEARHEAD_ENGINE", "off")
    with pytest.raises(ModelError, match="is for the native engine: CLEARHEAD_ENGINE is off"):
        packed_file(file, **WORDS)


def test_language_models_are_opened_likewise(
    toy_lm_run: Path, toy_baselines: dict[str, Path], toy_run: Path, file: Path
) -> None:
    """Those with a draft, n-gram and recurrent ones are loaded; a run of another kind is named with its verb."""
    assert isinstance(LanguageModel.load(toy_lm_run, device="cpu").writer, NativeModel)
    packed = kept(toy_lm_run, "best", "float32")
    assert packed is not None
    for run in (toy_lm_run, packed.path):
        assert isinstance(open_language_model(run, **WORDS), PackedLanguageModel)
    assert isinstance(open_language_model(packed.path, **WORDS, drafted=True), PackedLanguageModel)
    assert isinstance(open_language_model(toy_lm_run, **WORDS, drafted=True), LanguageModel)
    assert isinstance(open_language_model(toy_lm_run, **{**WORDS, "engine": "torch"}), LanguageModel)
    assert isinstance(open_language_model(toy_baselines["rnn_language_model"], **WORDS), LanguageModel)
    assert isinstance(open_language_model(toy_baselines["ngram"], **WORDS), NgramLanguageModel)
    with pytest.raises(ModelError, match=r"is for the task translation, not .*: use clearhead translate"):
        open_language_model(toy_run, **WORDS)
    with pytest.raises(ModelError, match=r"is for the task language_model, not .*: use clearhead generate"):
        open_translator(toy_lm_run, **WORDS)
    with pytest.raises(ModelError, match="is a model for translation, not for language_model"):
        open_language_model(file, **WORDS)


def test_a_run_that_takes_pytorch_says_so_where_there_is_none(
    toy_baselines: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="takes PyTorch, which is not installed"):
        open_language_model(toy_baselines["ngram"], **WORDS)
