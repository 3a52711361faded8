"""Back-translations are those of the run, and a translator learns from them what they are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearhead.config import merge
from clearhead.decode.hypotheses import SearchConfig
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.errors import ModelError, UsageError
from clearhead.tasks.translation.corpora.noise import NoiseConfig, disturb
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.corpora.back_translate import BackTranslation, back_translate
from clearhead.verbs.train import train
from tests.toy import RECIPE, write_recipe

WHERE: Any = {"checkpoint": "best", "device": "cpu", "weights": "float32", "engine": "auto"}


@pytest.fixture(scope="module")
def mono(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()[:20]
    path = tmp_path_factory.mktemp("mono") / "mono.zh"
    path.write_text("\n".join([*lines[:7], "", *lines[7:]]) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def test_each_method_writes_what_it_says(toy_run: Path, mono: Path, tmp_path: Path) -> None:
    translator, lines = Translator.load(toy_run, device="cpu"), read(mono)
    config = BackTranslation(search=SearchConfig(2), chunk=6)
    made = back_translate(toy_run, mono, tmp_path / "beam", config, **WHERE)
    best = [one.text for one in translator.translate(lines, beam=2, split="overlong")]
    assert read(tmp_path / "beam" / "train.en") == best
    assert read(tmp_path / "beam" / "train.zh") == lines
    assert best[7] == ""
    assert made.corpus.empty == 1
    assert made.table == {"path": str(tmp_path / "beam"), "src": "en", "tgt": "zh", "tag": "bt"}
    sampling = SamplingConfig(temperature=1.5, seed=4)
    back_translate(toy_run, mono, tmp_path / "drawn", BackTranslation("sample", sampling=sampling, chunk=6), **WHERE)
    assert read(tmp_path / "drawn" / "train.en") == [one.text for one in translator.sample(lines, sampling)]
    noise = NoiseConfig(delete=0.3, seed=9)
    noisy = replace(config, method="noise", noise=noise)
    back_translate(toy_run, mono, tmp_path / "noisy", noisy, **WHERE)
    expected = [disturb(text, noise, number) for number, text in enumerate(best)]
    assert read(tmp_path / "noisy" / "train.en") == expected != best
    record = json.loads((tmp_path / "noisy" / "corpus.json").read_bytes())["settings"]
    assert record["delete"] == 0.3
    assert "top_k" not in record


@pytest.mark.parametrize("method", ["beam", "sample"])
def test_lines_that_the_run_does_not_read_are_counted(method: Any, toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "mono").write_text("我喝水。\nShe reads a book.\n", encoding="utf-8")
    made = back_translate(toy_run, tmp_path / "mono", tmp_path / "out", BackTranslation(method), **WHERE)
    assert made.corpus.problems == {"most of it is in LATIN letters, and the model reads zh": 1}
    assert made.corpus.lines == 2


def test_distillation_has_the_lines_as_sources(toy_run: Path, mono: Path, tmp_path: Path) -> None:
    made = back_translate(toy_run, mono, tmp_path / "out", BackTranslation(distill=True), **WHERE)
    assert made.table == {"path": str(tmp_path / "out"), "src": "zh", "tgt": "en"}
    with pytest.raises(UsageError, match="method = 'sample': distillation is of what a search finds"):
        BackTranslation("sample", distill=True)


def test_a_translator_learns_from_them(toy_run: Path, mono: Path, toy_data: Path, tmp_path: Path) -> None:
    """Its tagged sources begin with a piece that no text and no translation has; others begin without."""
    table = back_translate(toy_run, mono, tmp_path / "bt", BackTranslation(), **WHERE).table
    corpora = [{"path": str(toy_data), "src": "en", "tgt": "zh"}, {**table, "weight": 2.0}]
    changes = {"src": "", "tgt": "", "data": {"max_len": 60, "corpora": corpora}, "train": {"max_steps": 3}}
    recipe = write_recipe(tmp_path / "recipe.toml", merge(RECIPE, changes))
    run = train(recipe, data=tmp_path, out=tmp_path / "run").run
    report = json.loads((run / "data-report.json").read_bytes())["train"]["corpora"]["bt"]["text"]
    assert (report["read"], report["dropped"]) == (21, {"empty": 1})
    translator = Translator.load(run, device="cpu")
    both = translator.tokenizers
    assert both.src.marks == {"bt": 4}
    assert both.src.pieces([4]) == ["<bt>"]
    assert 4 not in both.src.encode("<bt> x <bt>")
    (text,) = translator.translate(["She drinks water."])
    assert text.source_ids == both.src.encode("She drinks water.")
    assert 4 not in text.target_ids
    from clearhead.tasks.translation.corpora.reading import encode_training, training_files

    pairs = encode_training(training_files(tmp_path, translator.recipe), translator.recipe, both)
    sources = [pairs.src(index).tolist() for index in range(len(pairs))]
    assert [source[0] == 4 for source in sources] == [False] * 40 + [True] * 20
    assert pairs.tgt(40).tolist() == both.tgt.encode(read(mono)[0])


def test_a_vocabulary_without_the_tag_is_told(toy_run: Path, toy_data: Path, tmp_path: Path) -> None:
    tree = merge(RECIPE, {"data": {"corpora": [{"path": str(toy_data), "tag": "bt"}]}})
    for part in ("model", "tokenizer"):
        del tree[part]
    recipe = write_recipe(tmp_path / "recipe.toml", {**tree, "start": str(toy_run)})
    with pytest.raises(UsageError, match=r"tokenizer.marks = \('bt',\): start .* has \(\)"):
        train(recipe, data=tmp_path, out=tmp_path / "run")
    with pytest.raises(UsageError, match="tag = 'No': must be of a-z, 0-9"):
        train(recipe, data=tmp_path, out=tmp_path / "run", overrides=['data.corpora=[{path="x", tag="No"}]'])


def test_the_best_checkpoint_is_part_of_what_decides(toy_run: Path, mono: Path, tmp_path: Path) -> None:
    back_translate(toy_run, mono, tmp_path / "out", BackTranslation(), **WHERE)
    with pytest.raises(UsageError, match="was begun with weights = "):
        back_translate(toy_run, mono, tmp_path / "out", BackTranslation(), **{**WHERE, "checkpoint": "step-00000040"})
    with pytest.raises(ModelError):
        back_translate(tmp_path / "none", mono, tmp_path / "other", BackTranslation(), **WHERE)
