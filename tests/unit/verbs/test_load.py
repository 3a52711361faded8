"""Runs loaded by their path."""

from pathlib import Path

import pytest

import clearhead
from clearhead.decode.sampling import SamplingConfig
from clearhead.errors import ModelError
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.ngram import NgramLanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.load import load, load_language_model


def test_all_kinds_of_language_models(toy_baselines: dict[str, Path]) -> None:
    for run, kind in zip(toy_baselines.values(), (LanguageModel, NgramLanguageModel), strict=True):
        model = clearhead.load(run)
        assert type(model) is type(load_language_model(run)) is kind
        (expected,) = model.generate(["我"], GenerationConfig(max_new=9), sampling=SamplingConfig(0.0))
        carry_on = clearhead.pipeline("text-generation", run)
        assert carry_on("我", max_new_tokens=9, do_sample=False) == [{"generated_text": "我" + expected.text}]
    with pytest.raises(ModelError, match="is for the task ngram, not language_model: use clearhead generate"):
        LanguageModel.load(toy_baselines["ngram"])


def test_a_checkpoint_by_name(toy_run: Path, toy_lm_run: Path) -> None:
    """What is loaded is what the run is for."""
    for run, kind, steps in ((toy_run, Translator, (40, 120)), (toy_lm_run, LanguageModel, (50, 150))):
        found = load(run, checkpoint=f"step-{steps[0]:08d}"), load(str(run))
        assert [type(one) for one in found] == [kind, kind]
        assert tuple(one.step for one in found) == steps
