"""Code of somebody's own in training: the same run where it computes the same, resumed by name."""

import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import clearhead
from clearhead.checkpoint import load_checkpoint
from clearhead.config import merge, read_toml
from clearhead.engine.choose import native_fault
from clearhead.errors import ClearheadError, ModelError, UsageError
from clearhead.nn.norm import LayerNorm, norms_of
from clearhead.runs.pointers import find_checkpoint
from clearhead.tasks.own import ALLOWED, OwnConfig, OwnModelConfig, found, given
from clearhead.verbs.exports.run import export_run
from clearhead.verbs.train import TrainResult, train
from tests import own_parts
from tests.own_parts import MeanNorm, OwnGPT, PlainAttention, PlainMLP, PlainNorm
from tests.toy import (
    BASELINES,
    CLASSIFY,
    LANGUAGE_MODEL,
    MASKED,
    RECIPE,
    demo_lines,
    labelled_lines,
    write_articles,
    write_corpus,
    write_documents,
    write_labelled,
    write_recipe,
)

SHORT = {"train": {"max_steps": 4, "evaluate_every": 0, "checkpoint_every": 2, "precision": "float32"}}
TREES: dict[str, dict[str, Any]] = {
    "translation": RECIPE,
    "language_model": LANGUAGE_MODEL,
    "masked": MASKED,
    "classify": CLASSIFY,
    **{task: {"task": task, **tree} for task, tree in BASELINES.items()},
    "rnn_translation": {
        "task": "rnn_translation",
        "src": "zh",
        "tgt": "en",
        "model": {"d_model": 16, "n_layers": 1, "max_seq_len": 64},
        "data": {"max_len": 62},
    },
}
MADE = {
    "language_model": own_parts.own_gpt,
    "masked": own_parts.own_bert,
    "translation": own_parts.own_translator,
    "classify": own_parts.own_classifier,
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("texts")
    pairs = demo_lines(60)
    lines = [line for _, line in pairs]
    labelled = write_labelled(root / "labelled", labelled_lines(40), labelled_lines(12, 1))
    documents = write_documents(root / "documents", lines)
    return {
        "translation": write_corpus(root / "pairs", pairs),
        "rnn_translation": root / "pairs",
        "language_model": documents,
        "rnn_language_model": documents,
        "ngram": documents,
        "masked": write_articles(root / "articles", lines),
        "classify": labelled,
    }


def learn(
    task: str, texts: dict[str, Path], out: Path, more: dict[str, Any] | None = None, **words: Any
) -> TrainResult:
    tree = merge(merge(TREES[task], SHORT if task != "ngram" else {}), more or {})
    return train(write_recipe(out.parent / f"{out.name}.toml", tree), data=texts[task], out=out, **words)


def weights(run: Path) -> dict[str, torch.Tensor]:
    path = find_checkpoint(run, "latest")
    assert path is not None
    return dict(load_checkpoint(path, ("model",)).tensors["model"])


def kept(run: Path) -> dict[str, str]:
    """The paths in a run's recipe."""
    return {name: path for name, path in read_toml(run / "recipe.toml")["own"].items() if path}


@pytest.mark.parametrize("task", ["translation", "language_model", "masked", "classify"])
def test_what_computes_the_same_learns_the_same(task: str, texts: dict[str, Path], tmp_path: Path) -> None:
    more = {"finetune": {"epochs": 1}} if task == "classify" else {}
    ours = learn(task, texts, tmp_path / "ours", more)
    words: Any = {"model": MADE[task], "modules": {"norm": PlainNorm, "attention": PlainAttention}}
    theirs = learn(
        task, texts, tmp_path / "theirs", {"finetune": {"epochs": 1}} if task == "classify" else None, **words
    )
    assert theirs.scores == pytest.approx(ours.scores, rel=1e-3)
    assert kept(theirs.run) == {
        "model": f"tests.own_parts:{MADE[task].__name__}",
        "norm": "tests.own_parts:PlainNorm",
        "attention": "tests.own_parts:PlainAttention",
    }
    loaded: Any = clearhead.load(theirs.run)
    assert {type(norm) for norm in norms_of(loaded.model)} == {PlainNorm}


def test_it_is_said_to_whoever_trains(texts: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run = learn("language_model", texts, tmp_path / "run", modules={"mlp": PlainMLP}).run
    assert "own.mlp = 'tests.own_parts:PlainMLP': the run keeps the name of this code" in caplog.text
    assert own_parts.built[-1] == (64, 128, 0.0)
    assert "own.mlp = 'tests.own_parts:PlainMLP'" in (run / "README.md").read_text("utf-8")


def test_resumed_by_name_as_if_never_stopped(texts: dict[str, Path], tmp_path: Path) -> None:
    words: Any = {"modules": {"norm": PlainNorm, "mlp": PlainMLP}}
    whole = learn("language_model", texts, tmp_path / "whole", **words).run
    learn("language_model", texts, tmp_path / "run", {"train": {"max_steps": 2}}, **words)
    run = learn("language_model", texts, tmp_path / "run", resume=True).run  # the code is found by its name
    assert all(torch.equal(one, weights(whole)[name]) for name, one in weights(run).items())
    with pytest.raises(UsageError, match=r"own\.norm differs from the run's recipe"):
        learn("language_model", texts, run, {"train": {"max_steps": 5}}, resume=True, modules={"norm": LayerNorm})


def test_what_has_no_name_goes_on_where_it_is_given_again(texts: dict[str, Path], tmp_path: Path) -> None:
    def give(config: OwnModelConfig) -> OwnGPT:
        return OwnGPT(config.model, **config.settings)

    run = learn("language_model", texts, tmp_path / "run", {"train": {"max_steps": 2}}, model=give).run
    with pytest.raises(ModelError, match=r"own\.model = .*<locals>.*no name to import it by"):
        clearhead.load(run)
    more: dict[str, Any] = {"train": {"max_steps": 3}}
    with pytest.raises(ModelError, match=r"give it to clearhead\.train again"):
        learn("language_model", texts, run, more, resume=True)
    before = OwnGPT.asked
    assert learn("language_model", texts, run, more, resume=True, model=give).step == 3
    assert OwnGPT.asked > before


def test_pytorch_computes_it_and_no_format_holds_it(texts: dict[str, Path], tmp_path: Path) -> None:
    run = learn("translation", texts, tmp_path / "run", modules={"norm": PlainNorm}).run
    trained: Any = clearhead.load(run)
    assert native_fault(trained.model) == "PlainNorm is computed by PyTorch"
    line = demo_lines(1)[0][0]
    assert isinstance(trained.translate(line).text, str)
    for to in ("hf", "onnx", "ctranslate2"):
        with pytest.raises(ModelError, match=r"own\.norm = 'tests\.own_parts:PlainNorm'.*no format can hold"):
            export_run(run, tmp_path / to, target=to)  # type: ignore[arg-type]
        assert not (tmp_path / to).exists()


def test_a_classifier_takes_the_parts_of_what_it_starts_from(texts: dict[str, Path], tmp_path: Path) -> None:
    start = learn("masked", texts, tmp_path / "start", modules={"norm": PlainNorm}).run
    tree = {"start": str(start), "finetune": {"epochs": 1}, "model": {}}
    recipe = {key: value for key, value in CLASSIFY.items() if key not in ("model", "tokenizer")}
    run = train(
        write_recipe(tmp_path / "tuned.toml", merge(recipe, tree)), data=texts["classify"], out=tmp_path / "t"
    ).run
    assert kept(run) == {"norm": "tests.own_parts:PlainNorm"}
    whole = learn("masked", texts, tmp_path / "whole", model=own_parts.own_bert).run
    tree["start"] = str(whole)
    with pytest.raises(ModelError, match=r"own\.model = .*for its own task only"):
        train(write_recipe(tmp_path / "other.toml", merge(recipe, tree)), data=texts["classify"], out=tmp_path / "o")


@pytest.mark.parametrize(
    ("task", "words", "rule"),
    [
        ("language_model", {"modules": {"nrm": PlainNorm}}, r"modules\['nrm'\]: must be one of norm, mlp, attention"),
        (
            "language_model",
            {"modules": {"norm": nn.LayerNorm}},
            r"must be a class derived from clearhead\.nn\.norm\.Norm",
        ),
        ("language_model", {"modules": {"norm": PlainNorm(4, eps=0.1)}}, "must be a class derived from"),
        ("language_model", {"modules": {"mlp": nn.Linear}}, r"cannot be built by \(64, 128, dropout=0.0\)"),
        ("language_model", {"modules": {"norm": MeanNorm}}, "looks at other positions; a GPT could not use its cache"),
        (
            "language_model",
            {"model": own_parts.wrong_model},
            "must build a GPT or one derived from it, not a Linear",
        ),
        ("rnn_language_model", {"modules": {"norm": PlainNorm}}, "for Transformers, not for recurrent models"),
        ("rnn_translation", {"modules": {"norm": PlainNorm}}, "for Transformers, not for recurrent models"),
        ("ngram", {"modules": {"norm": PlainNorm}}, "what is learned by counting has no modules"),
    ],
)
def test_what_cannot_be_a_part_is_refused(
    task: str, words: dict[str, Any], rule: str, texts: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=rule):
        learn(task, texts, tmp_path / "run", **words)
    assert not (tmp_path / "run").exists()


def test_no_recipe_names_code(texts: dict[str, Path], tmp_path: Path) -> None:
    for changes in ({"own": {"norm": "tests.own_parts:PlainNorm"}}, {}):
        recipe = write_recipe(tmp_path / "r.toml", merge(LANGUAGE_MODEL, changes))
        overrides = [] if changes else ["own.norm=tests.own_parts:PlainNorm"]
        with pytest.raises(UsageError, match=r"own: is written by clearhead\.train, from its arguments"):
            train(recipe, data=texts["language_model"], out=tmp_path / "run", overrides=overrides)


def test_a_run_alone_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebodys.py").write_text("class Part: ...\nloaded = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = "somebodys:Part"
    with pytest.raises(ModelError, match=f"import somebodys first, or set {ALLOWED}=somebodys"):
        found("norm", path)
    assert "somebodys" not in sys.modules
    monkeypatch.setenv(ALLOWED, "other,somebodys")
    try:
        assert found("norm", path).__name__ == "Part"
        monkeypatch.delenv(ALLOWED)
        assert found("norm", path).__name__ == "Part"  # it is loaded now
        with pytest.raises(ModelError, match="somebodys has no Other"):
            found("norm", "somebodys:Other")
    finally:
        sys.modules.pop("somebodys", None)
    monkeypatch.setenv(ALLOWED, "nowhere,os")
    with pytest.raises(ModelError, match=r"cannot be imported \(No module named 'nowhere'\)"):
        found("norm", "nowhere:Part")
    with pytest.raises(ModelError, match="no code of a run's own stands in Python's library"):
        found("model", "os:abort")


def test_code_is_known_while_it_is_given() -> None:
    with given(own_parts.own_gpt, {"norm": PlainNorm}) as own:
        assert own == {"own": {"norm": "tests.own_parts:PlainNorm", "model": "tests.own_parts:own_gpt"}}
        assert found("model", "tests.own_parts:own_gpt") is own_parts.own_gpt
    with given(None, {}) as own:
        assert own == {}
    with pytest.raises(UsageError, match="must be a function or a class"), given(own_parts.built.append, {}):  # type: ignore[arg-type]
        pass
    assert str(OwnConfig(norm="a:B", mlp="a:C")) == "own.norm = 'a:B', own.mlp = 'a:C'"


def test_a_module_that_was_imported_under_another_name_is_not_taken() -> None:
    stranger = ModuleType("strangers_part")
    sys.modules["strangers_part"] = stranger
    try:
        with pytest.raises(ClearheadError, match="strangers_part has no Part"):
            found("norm", "strangers_part:Part")
    finally:
        del sys.modules["strangers_part"]
