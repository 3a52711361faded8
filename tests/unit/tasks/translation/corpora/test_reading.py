"""Runs on several corpora: what they read, how they are scored, resumed, and translate in each direction."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.checkpoint import load_weights
from clearhead.config import merge
from clearhead.data.translation import collate
from clearhead.errors import DataError, UsageError
from clearhead.runs.pointers import find_checkpoint
from clearhead.tasks.translation.corpora.reading import corpus_files
from clearhead.tasks.translation.recipe import parse_translation
from clearhead.tasks.translation.translator import Translator
from clearhead.training.writers import read_metrics
from clearhead.verbs.exports.run import export_run
from clearhead.verbs.quick import open_translator
from clearhead.verbs.train import prepare_new, train
from tests.toy import RECIPE, TWO_WAYS, write_recipe

SMALL: dict[str, Any] = merge(TWO_WAYS, {"train": {"max_steps": 8, "checkpoint_every": 3, "evaluate_every": 4}})


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = find_checkpoint(run, "latest")
    assert checkpoint is not None
    return dict(load_weights(checkpoint)[0])


def test_a_translator_speaks_each_direction(two_ways: Path) -> None:
    """It has learned both by heart: the lines that both corpora have come back whole, in the language that is asked."""
    translator = Translator.load(two_ways / "run")
    zh, en = ((two_ways / "other" / f"train.{side}").read_text(encoding="utf-8").splitlines() for side in ("zh", "en"))
    there = [each.text for each in translator.toward("en").translate(zh, beam=1)]
    back = [each.text for each in translator.toward("zh", "en").translate(en, beam=1)]
    assert sum(one == other for one, other in zip(there, en, strict=True)) > 0.8 * len(en)
    assert sum(one == other for one, other in zip(back, zh, strict=True)) > 0.8 * len(zh)
    with pytest.raises(UsageError, match="to: the model translates zh to en, en to zh; say which"):
        translator.translate(zh[0])
    one = translator.toward("zh").translate(en[0])
    tag = translator.tokenizers.src.tags["zh"]
    assert one.source_ids == [tag, *translator.tokenizers.src.encode(en[0])]
    assert one.source_pieces[0] == "<2zh>"
    assert translator.toward("zh").aligned(one).alignment is not None
    assert translator.toward("zh").trace(en[0]).source_ids[0] == tag
    assert translator.toward("zh").alternatives(en[0], 2)[0].source_ids[0] == tag


def test_tags_are_in_no_translation(two_ways: Path) -> None:
    """However probable the model finds them."""
    translator = Translator.load(two_ways / "run", engine="torch", weights="float32")
    tags = [*translator.tokenizers.tgt.tags.values()]
    assert translator.model.lm_head.weight.shape[0] == translator.tokenizers.tgt.vocab_size
    translator.model.lm_head.weight.data[tags] = 100 * translator.model.lm_head.weight.data[[2]]
    for beam in (1, 3):
        (one,) = translator.toward("en").translate(["我喝水。"], beam=beam)
        assert not set(one.target_ids) & set(tags)


def test_a_file_knows_the_directions_too(two_ways: Path, tmp_path: Path) -> None:
    run, place = two_ways / "run", tmp_path / "two.clearhead"
    export_run(run, place, target="file")
    where: Any = {"checkpoint": "best", "device": "cpu", "weights": "float32", "engine": "auto"}
    packed, loaded = open_translator(place, **where), Translator.load(run, engine="native")
    assert type(packed).__name__ == "PackedTranslator"
    texts = {"en": "我喝水。", "zh": "She reads a book."}
    for to, text in texts.items():
        found = [each.toward(to).translate(text, beam=3) for each in (packed, loaded)]
        assert found[0].pieces == found[1].pieces
        by_torch = Translator.load(run, engine="torch").toward(to).translate(text, beam=3)
        assert by_torch.pieces == found[0].pieces
        assert by_torch.score == pytest.approx(found[0].score, abs=1e-3)
    with pytest.raises(UsageError, match="say which"):
        packed.translate("我喝水。")


def test_a_resumed_run_is_the_same_to_the_bit(two_ways: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "small.toml", SMALL)
    whole = train(recipe, data=two_ways, out=tmp_path / "whole")
    train(recipe, data=two_ways, out=tmp_path / "cut", overrides=["train.max_steps=3"])
    cut = train(recipe, data=two_ways, out=tmp_path / "cut", resume=True)
    assert (cut.step, cut.scores) == (whole.step, whole.scores)
    assert not [note for note in cut.notes if "does not count" in note]
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    losses = [
        {
            record["step"]: record["loss"]
            for record in read_metrics(tmp_path / name / "metrics.jsonl")
            if "loss" in record
        }
        for name in ("whole", "cut")
    ]
    assert losses[0] == losses[1]


def test_scores_are_means_of_the_judged_and_each_is_shown(two_ways: Path, tmp_path: Path) -> None:
    judged = merge(SMALL, {"validation": {"monitor": "bleu", "max_sentences": 4}})
    recipe = write_recipe(tmp_path / "small.toml", judged)
    scores = train(recipe, data=two_ways, out=tmp_path / "run").scores
    assert set(scores) == {f"{name}{of}" for name in ("loss", "bleu") for of in ("", "/one", "/other")}
    for name in ("loss", "bleu"):
        assert scores[name] == pytest.approx((scores[f"{name}/one"] + scores[f"{name}/other"]) / 2)
    corpora = [SMALL["data"]["corpora"][0], {**SMALL["data"]["corpora"][1], "judged": False}]
    alone = write_recipe(tmp_path / "alone.toml", merge(SMALL, {"data": {"corpora": corpora}}))
    scores = train(alone, data=two_ways, out=tmp_path / "alone").scores
    assert scores["loss"] == scores["loss/one"] != scores["loss/other"]
    report = json.loads((tmp_path / "alone" / "data-report.json").read_text(encoding="utf-8"))
    assert [*report["train"]["corpora"]] == ["one", "other"]
    assert report["train"]["length_limit"]["ratio"] > 0
    lines = (tmp_path / "alone" / "README.md").read_text(encoding="utf-8")
    assert "from `zh` to `en`, `en` to `zh`" in lines
    assert "--to en" in lines


def test_a_corpus_without_valid_lines_is_not_scored(two_ways: Path, tmp_path: Path) -> None:
    for name, stems in {"one": ("train", "valid"), "other": ("train",)}.items():
        (tmp_path / name).mkdir()
        for stem in stems:
            for side in ("zh", "en"):
                text = (two_ways / name / f"{stem}.{side}").read_bytes()
                (tmp_path / name / f"{stem}.{side}").write_bytes(text)
    job = prepare_new(SMALL, tmp_path, source="here")
    assert [part.corpus.label for part in job.valid.parts] == ["one"]  # type: ignore[attr-defined]
    assert "trained on and not scored, as it has no validation split: 'other'" in job.decided()
    assert not [line for line in prepare_new(SMALL, two_ways, source="here").decided() if "not scored" in line]
    named = [SMALL["data"]["corpora"][0], {**SMALL["data"]["corpora"][1], "valid": "vald"}]
    with pytest.raises(DataError, match=r"other/vald.(zh|en): no such file"):  # what somebody names must be there
        prepare_new(merge(SMALL, {"data": {"corpora": named}}), tmp_path, source="here")
    for path in (tmp_path / "one").glob("valid.*"):
        path.unlink()
    with pytest.raises(DataError, match=r"one/valid.zh: no such file"):
        prepare_new(SMALL, tmp_path, source="here")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"corpora": [{"path": "one", "scr": "zh"}]}, "unknown key 'data.corpora.scr'; did you mean 'src'?"),
        ({"corpora": [{"path": "one", "src": "zh", "tgt": "en", "weight": 0}]}, "data.corpora.0.weight = 0"),
        ({"corpora": {"path": "one"}}, r"data.corpora: this is a list of tables, write \[\[data.corpora\]\]"),
        ({"corpora": [{"path": "one", "src": "zh"}]}, "the languages of 'one' are not set; add src and tgt"),
        ({"corpora": [{"path": "one"}, {"path": "b/one"}]}, "two are called 'one'"),
        ({"temperature": 0.5}, "data.temperature = 0.5"),
        ({"max_len": 63}, "data.max_len = 63: with the tag of a language and an end mark"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(changes: dict[str, Any], said: str) -> None:
    tree: Any = {**TWO_WAYS, "src": "", "tgt": "", "data": {**TWO_WAYS["data"], **changes}}  # type: ignore[dict-item]
    with pytest.raises(UsageError, match=said):
        parse_translation(tree, "here")


def test_the_folder_above_the_corpora_is_asked_for(tmp_path: Path) -> None:
    recipe = parse_translation(TWO_WAYS, "here")
    first, other = recipe.data.corpora
    (tmp_path / "one").mkdir()
    rule = "has no folder 'one', which is that of a corpus of the recipe; --data is the folder above the 2 corpora"
    with pytest.raises(DataError, match=f"^data folder '{tmp_path / 'one'}' {rule}; did you mean '{tmp_path}'\\?$"):
        corpus_files(tmp_path / "one", recipe, first, "test")
    with pytest.raises(DataError, match=r"has no folder 'other'.* above the 2 corpora$"):
        corpus_files(tmp_path, recipe, other, "train")
    with pytest.raises(DataError, match="none/one' does not exist or is not a folder"):
        corpus_files(tmp_path / "none", recipe, first, "test")


def test_one_target_language_needs_no_tag(two_ways: Path) -> None:
    """Two corpora of one direction, whose languages are those of the recipe."""
    data = {**RECIPE["data"], "corpora": [{"path": "one"}, {"path": "other"}]}  # type: ignore[dict-item]
    recipe = parse_translation({**RECIPE, "data": data}, "here")
    assert (recipe.src, recipe.tgt, recipe.tokenizer.tags) == ("zh", "en", ())
    assert [(corpus.src, corpus.tgt) for corpus in recipe.data.corpora] == [("zh", "en")] * 2
    job: Any = prepare_new({**RECIPE, "data": data}, two_ways, source="here")
    assert len(job.train) == 64
    batch = job.dataset(0)[0]
    rows = batch.indices.tolist()
    alone = collate([job.train.src(row) for row in rows], [job.train.tgt(row) for row in rows])
    assert torch.equal(batch.src_ids, alone.src_ids)
    assert job.where(batch).startswith(("one: lines ", "other: lines "))
