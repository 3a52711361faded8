"""From Python: a string is one text in every method, and a wrong argument is one line of ours."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clearhead
from clearhead import ClearheadError, GenerationConfig, SamplingConfig, SearchConfig
from clearhead.types import SavedRun

SHORT, ZH = GenerationConfig(max_new=4), "我吃了一个苹果。"
MASKED = "He [MASK] an apple."


@pytest.fixture(scope="module")
def runs(toy_run: Path, toy_lm_run: Path, toy_masked_run: Path, toy_classifier: Path) -> dict[str, Path]:
    return {"translation": toy_run, "text-generation": toy_lm_run, "fill-mask": toy_masked_run,
            "text-classification": toy_classifier}  # fmt: skip


@pytest.fixture(scope="module")
def models(runs: dict[str, Path], toy_baselines: dict[str, Path]) -> dict[str, Any]:
    loaded = {task: clearhead.load(run, task=task) for task, run in runs.items()}  # type: ignore[call-overload]
    return loaded | {task: clearhead.load(run) for task, run in toy_baselines.items()}


@pytest.fixture(scope="module")
def methods(models: dict[str, Any], runs: dict[str, Path]) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    """Every method that takes texts: what calls its argument in an error, and a call of it with one argument."""
    translator, writer, masked = (models[task] for task in ("translation", "text-generation", "fill-mask"))
    pipelines = {f"pipeline {task}": ("texts", clearhead.pipeline(task, run)) for task, run in runs.items()}  # type: ignore[call-overload]
    return pipelines | {
        "translate": ("texts", translator.translate),
        "translate n_best": ("texts", lambda texts: translator.translate(texts, n_best=2)),
        "n_best": ("texts", lambda texts: translator.n_best(texts, SearchConfig(2, 2))),
        "generate": ("prompts", lambda texts: writer.generate(texts, SHORT)),
        "generate ngram": ("prompts", lambda texts: models["ngram"].generate(texts, SHORT)),
        "generate rnn": ("prompts", lambda texts: models["rnn_language_model"].generate(texts, SHORT)),
        "fill": ("texts", masked.fill),
        "embed": ("texts", masked.embed),
        "classify": ("given", models["text-classification"].classify),
    }


def test_a_string_gives_what_a_list_of_it_holds(methods: dict[str, tuple[str, Callable[[Any], Any]]]) -> None:
    for name, (_, method) in methods.items():
        text = MASKED if "fill" in name else ZH
        (expected,) = listed = method([text])
        ways = [(text,), np.array([text])] if name != "classify" else [np.array([text])]
        for several in (*ways, (given for given in [text])):
            assert np.array_equal(method(several), listed), name
        if name.startswith("pipeline"):  # whose shapes are Hugging Face's
            assert method(text) == (listed if isinstance(expected, dict) else expected)
        else:
            assert np.array_equal(method(text), expected), name
            assert np.array_equal(method(np.str_(text)), expected), name
        assert len(method([])) == 0


def test_what_is_no_text_is_refused_alike(methods: dict[str, tuple[str, Callable[[Any], Any]]]) -> None:
    for argument, method in methods.values():
        for wrong, where, shown in [
            (None, argument, "None"),
            (b"ab", argument, "b'ab'"),
            (5, argument, "5"),
            ({"a"}, argument, "{'a'}"),
            ([None], f"{argument}[0]", "None"),
            (["a", b"b"], f"{argument}[1]", "b'b'"),
            ([["a"]], f"{argument}[0]", "['a']"),
        ]:
            with pytest.raises(ClearheadError, match=f"^{re.escape(f'{where} = {shown}: must be a string')}"):
                method(wrong)
        with pytest.raises(ClearheadError, match=f"^{argument} = .*: (must be a string|a mapping has the key text)"):
            method({"a": "b"})


def test_several_translations_of_a_text(models: dict[str, Any]) -> None:
    translator = models["translation"]
    ranked = translator.translate(ZH, n_best=3)
    assert [translation.rank_score for translation in ranked] == sorted((t.rank_score for t in ranked), reverse=True)
    assert translator.translate([ZH], n_best=3) == [ranked]
    assert ranked[0].text == translator.translate(ZH).text
    assert len(translator.translate(ZH, n_best=3, beam=1)) == 3  # the beam is wide enough for what is asked for
    assert all(t.alignment for t in translator.translate(ZH, n_best=2, alignment=True))
    assert translator.translate([], n_best=2) == []


def wrong_calls(models: dict[str, Any], runs: dict[str, Path]) -> dict[str, Callable[[], object]]:
    """Calls with one wrong argument, by what they must say."""
    translator, writer, masked = (models[task] for task in ("translation", "text-generation", "fill-mask"))
    classifier, run, inspect = models["text-classification"], runs["translation"], clearhead.inspect
    train: Any = clearhead.train
    return {
        "beam = 0: must be at least 1": lambda: translator.translate(ZH, beam=0),
        "beam = '5': must be a whole number": lambda: translator.translate(ZH, beam="5"),
        "n_best = 0: must be at least 1": lambda: translator.translate(ZH, n_best=0),
        "length_penalty = 'a': must be a number": lambda: translator.translate(ZH, length_penalty="a"),
        "search: length_penalty = -1.0: ": lambda: translator.translate(ZH, length_penalty=-1),
        "prefix = None: must be a string": lambda: translator.translate(ZH, prefix=None),
        "overlong = 'x': must be one of split, ": lambda: translator.translate(ZH, overlong="x"),
        "require = [None]: must be a string or a list": lambda: translator.translate(ZH, require=[None]),
        "avoid[0][1] = 1: must be a string": lambda: translator.translate(ZH, avoid=[["a", 1]]),
        "translate: got an unexpected keyword argument 'beams'; did you mean 'beam'?": lambda: translator.translate(
            ZH, beams=3
        ),
        "config = None: must be of type SearchConfig": lambda: translator.n_best(ZH, None),
        "n_best = 2: must be at most beam = 1": lambda: SearchConfig(1, 2),
        "text = ['a']: must be a string": lambda: translator.alternatives(["a"]),
        "count = -1: must be at least 1": lambda: translator.alternatives(ZH, -1),
        "text = None: must be a string": lambda: translator.trace(None),
        "top = 'a': must be a whole number": lambda: translator.trace(ZH, top="a"),
        "config = {'n': 2}: must be of type GenerationConfig": lambda: writer.generate("a", {"n": 2}),
        "sampling = 'x': must be of type SamplingConfig": lambda: writer.generate("a", sampling="x"),
        "draft = 'x': must be of type TextModel or None": lambda: writer.generate("a", draft="x"),
        "on_text = 5: must be a function": lambda: writer.generate("a", on_text=5),
        "n = 2: a prompt that is a string has one text": lambda: writer.generate("a", GenerationConfig(n=2)),
        "n = 3: must be at most beam = 2": lambda: GenerationConfig(n=3, beam=2),
        "text = 5: must be a string": lambda: models["ngram"].log_probs(5),
        "top_k = 2.5: must be a whole number": lambda: masked.fill(MASKED, top_k=2.5),
        "overlong = 'split': must be one of error, truncate": lambda: masked.embed(MASKED, overlong="split"),
        "given[0] = ('a', 'b', 'c'): must be a string or a pair": lambda: classifier.classify([("a", "b", "c")]),
        "data = 5: must be a string or a path": lambda: classifier.evaluate(5, "valid"),
        "run = None: must be a string or a path": lambda: clearhead.load(None),  # type: ignore[call-overload]
        "run = b'x': must be a string or a path": lambda: clearhead.Translator.load(b"x"),  # type: ignore[arg-type]
        "checkpoint = 40: must be a string": lambda: clearhead.load(run, checkpoint=40),  # type: ignore[call-overload]
        "device = None: must be a string": lambda: clearhead.load(run, device=None),  # type: ignore[call-overload]
        "task = 'x': must be one of translation, ": lambda: clearhead.load(run, task="x"),  # type: ignore[call-overload]
        "is for the task translation, not masked: use clearhead translate": lambda: clearhead.load(
            run, task="fill-mask"
        ),
        "weights = 'int3': must be one of": lambda: clearhead.LanguageModel.load(
            runs["text-generation"], weights="int3"
        ),  # type: ignore[arg-type]
        "task = None: must be one of translation, ": lambda: clearhead.pipeline(None, run),  # type: ignore[call-overload]
        "recipe = {}: must be a string or a path": lambda: train({}, data="x"),
        "data = None: must be a string or a path": lambda: train("translate-tiny", data=None),
        "overrides[0] = 1: must be a string": lambda: train("translate-tiny", data="x", overrides=[1]),
        "writers[0] = 5: must be of type Writer": lambda: train("translate-tiny", data="x", writers=[5]),
        "resume = 'yes': must be True or False": lambda: train("translate-tiny", data="x", resume="yes"),
        "model = Translator('toy'": lambda: inspect.model(translator),
        "model = 'x': must be of type Module": lambda: inspect.memory("x", None),  # type: ignore[arg-type]
        "parts = None: must be of type Optimizer or a list": lambda: inspect.optimizer(None, translator.model),  # type: ignore[arg-type]
        "folders[0] = None: must be a path or a string": lambda: inspect.checkpoint(None),  # type: ignore[arg-type]
    }


def test_a_wrong_argument_is_one_line_that_names_it(models: dict[str, Any], runs: dict[str, Path]) -> None:
    for expected, call in wrong_calls(models, runs).items():
        with pytest.raises(ClearheadError) as caught:
            call()
        said = str(caught.value)
        assert expected in said, expected
        assert "\n" not in said
        assert len(said) < 200


def test_what_numpy_and_paths_give_is_taken(models: dict[str, Any], toy_run: Path) -> None:
    translator = clearhead.Translator.load(str(toy_run))
    assert translator.translate(ZH, beam=np.int64(5), length_penalty=1) == models["translation"].translate(ZH)
    few = GenerationConfig(max_new=np.int64(3), stop=["x"])  # type: ignore[arg-type]
    assert len(models["text-generation"].generate(["a"], few, sampling=SamplingConfig(np.float32(0.0)))) == 1  # type: ignore[arg-type]


def test_what_a_user_holds_is_short_in_a_notebook(
    models: dict[str, Any], runs: dict[str, Path], labelled: Path
) -> None:
    translator, masked, classifier = (models[task] for task in ("translation", "fill-mask", "text-classification"))
    opened = SavedRun.open(runs["translation"])
    view = clearhead.inspect.activations()
    assert repr(view) == "ActivationsView('activations')"
    assert "<style>" in view._repr_html_()
    assert repr(masked.tokenizer) == f"Tokenizer('byte_bpe', {masked.tokenizer.vocab_size} pieces)"
    held = [translator.translate(ZH), translator.trace(ZH), translator.beam_tree(ZH, SearchConfig(4)), view, opened]
    held += [masked.fill(MASKED), classifier.classify(ZH), classifier.evaluate(labelled, "valid"), classifier.labels]
    held += [models["ngram"].generate(ZH), opened.saved("model"), translator.tokenizers, *models.values()]
    assert {type(thing).__name__: len(repr(thing)) for thing in held if len(repr(thing)) > 600} == {}
    assert not any("\n" in repr(thing) for thing in held)
