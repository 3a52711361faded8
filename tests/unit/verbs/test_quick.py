"""A run is opened without PyTorch where that can do what is asked, and a file says what it cannot."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.engine.rows import NativeModel
from clearhead.engine.weights.file import open_model, write_model
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
from clearhead.verbs.exports.run import Certify, export_run
from clearhead.verbs.load import load
from clearhead.verbs.pipelines import pipeline
from clearhead.verbs.quick import (
    open_classifier,
    open_file,
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
        assert loaded.load(run, device="cpu")._engine_model is not None
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


@pytest.fixture(scope="module")
def files(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exported files of a run, by their kind of weights."""
    folder = tmp_path_factory.mktemp("files")
    words: dict[str, Any] = {"target": "file", "certify": Certify(lines=0)}
    return {
        kind: export_run(toy_run, folder / f"{kind}.clearhead", quantize=kind, **words) for kind in ("float32", "int8")
    }


WANTED: list[tuple[dict[str, str], str]] = [
    ({"engine": "torch"}, "engine = 'torch': .* holds int8 weights of the native engine, for a CPU"),
    ({"device": "cuda"}, "device = 'cuda': .* holds int8 weights of the native engine, for a CPU"),
    ({"weights": "bfloat16"}, "weights = 'bfloat16': .* holds int8"),
]


@pytest.mark.parametrize(("change", "match"), WANTED)
def test_a_file_of_rounded_weights_says_what_it_cannot_do(
    change: dict[str, Any], match: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of float32 weights is left to PyTorch, where there is one."""
    with pytest.raises(UsageError, match=match):
        packed_file(files["int8"], **{**WORDS, **change})
    assert packed_file(files["float32"], **{**WORDS, **change}) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=match.replace("int8", "float32")):
        packed_file(files["float32"], **{**WORDS, **change})
    with pytest.raises(ModelError, match="this takes PyTorch, which is not installed"):
        open_translator(files["int8"], **WORDS, looks_inside=True)


def test_a_file_without_an_engine(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_ENGINE", "off")
    with pytest.raises(ModelError, match="is for the native engine: CLEARHEAD_ENGINE is off"):
        open_translator(files["int8"], **WORDS)
    assert isinstance(open_translator(files["float32"], **WORDS), Translator)


def test_more_is_asked_of_a_file_than_its_packed_weights_know(files: dict[str, Path]) -> None:
    assert isinstance(open_translator(files["float32"], **WORDS, looks_inside=True), Translator)
    with pytest.raises(ModelError, match=r"holds int8 weights, which translate, .*--quantize float32"):
        open_translator(files["int8"], **WORDS, looks_inside=True)


def test_a_file_is_loaded_by_its_path_alone(files: dict[str, Path], toy_run: Path) -> None:
    text = "我吃了一个苹果。"
    whole, packed = (load(files[kind], device="cpu") for kind in files)
    assert (type(whole), type(packed)) == (Translator, PackedTranslator)
    assert whole.translate(text) == Translator.load(toy_run, device="cpu").translate(text)
    answers = [pipeline("translation", path, device="cpu")(text) for path in files.values()]
    assert answers == [[{"translation_text": each.translate(text).text}] for each in (whole, packed)]
    with pytest.raises(UsageError, match=r"device = 'cuda': .* holds int8 weights"):
        open_file(files["int8"], device="cuda")
    with pytest.raises(ModelError, match="is a model for translation, not for masked"):
        load(files["int8"], task="fill-mask")
    opened = open_model(files["int8"])
    other = files["int8"].with_name("other.clearhead")
    write_model(other, opened.image, {**opened.about, "task": "painting"}, opened.files)
    with pytest.raises(ModelError, match="is a model for painting, which this version does not know"):
        open_file(other)


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
