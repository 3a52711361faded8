"""Loaded runs as objects: their repr, and the way through pickle and ``copy.deepcopy`` with packed weights."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

import clearhead
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.load import load

SHORT = GenerationConfig(max_new=6)


def read(model: Any) -> Any:
    """What a model makes of a text."""
    match model:
        case Translator():
            return model.translate("我吃了一个苹果。", require=["I"], n_best=2)
        case clearhead.MaskedModel():
            return model.fill("He [MASK] an apple.")
        case clearhead.Classifier():
            return model.classify("a great film")
    return model.generate("我", SHORT), model.log_probs("我")


@pytest.mark.long
def test_a_copy_computes_the_same(
    toy_run: Path, toy_lm_run: Path, toy_masked_run: Path, toy_classifier: Path, toy_baselines: dict[str, Path]
) -> None:
    for run in (toy_run, toy_lm_run, toy_masked_run, toy_classifier, *toy_baselines.values()):
        model = load(run)
        expected = read(model)  # which makes packed copies and the automata of phrases, before they would travel
        for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert read(other) == expected, run
            assert repr(other) == repr(model)
            assert other.recipe == model.recipe


def test_packed_weights_are_packed_anew(toy_run: Path, toy_lm_run: Path) -> None:
    """The pickle holds the weights once, and what comes out decodes by its own packed copy."""
    translator, model = Translator.load(toy_run), LanguageModel.load(toy_lm_run)
    size = len(pickle.dumps(translator))
    read(translator)
    assert len(pickle.dumps(translator)) == size
    for loaded in (translator, model):
        assert loaded.writer is not loaded.model
        other = pickle.loads(pickle.dumps(loaded))
        assert type(other.writer) is type(loaded.writer)
        assert other.writer is not other.model


def test_int8_weights_travel(toy_lm_run: Path) -> None:
    model = LanguageModel.load(toy_lm_run, weights="int8")
    expected = model.generate("我", SHORT)
    assert pickle.loads(pickle.dumps(model)).generate("我", SHORT) == expected


def test_the_repr_says_which_run_it_is(toy_run: Path, toy_baselines: dict[str, Path]) -> None:
    translator = load(toy_run)
    count = sum(parameter.numel() for parameter in translator.model.parameters())
    assert repr(translator) == f"Translator('toy', Transformer of {count:,} parameters on cpu, step 120)"
    assert repr(load(toy_baselines["ngram"])) == "NgramLanguageModel('ngram', Ngram, step 1)"


@pytest.mark.long
def test_a_model_goes_to_another_process(toy_run: Path, tmp_path: Path) -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    translator = load(toy_run)
    expected = translator.translate(["我吃了一个苹果。"])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(translator.translate, ["我吃了一个苹果。"]).result() == expected
