"""A translator that reads the line before, from text to scores: what is learned, scored, shown and gone on with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearhead.checkpoint import load_weights
from clearhead.config import merge
from clearhead.decode.hypotheses import SearchConfig
from clearhead.errors import UsageError
from clearhead.runs.pointers import find_checkpoint
from clearhead.tasks.translation.corpora.reading import encode_training, training_files
from clearhead.tasks.translation.recipe import parse_translation
from clearhead.tasks.translation.scoring import evaluate_translator
from clearhead.tasks.translation.search.lexicon import learned_from
from clearhead.tasks.translation.translator import Translator
from clearhead.tasks.translation.trust.calibrate import calibrate
from clearhead.tasks.translation.trust.comparing import compare_translator
from clearhead.tasks.translation.trust.confidence import features
from clearhead.verbs.corpora.filter import filter_corpus
from clearhead.verbs.train import prepare_new, train
from tests.stories import RAN, lines_of
from tests.toy import CONTEXT, RECIPE, write_recipe


@pytest.fixture(scope="module")
def translator(stories: Path) -> Translator:
    return Translator.load(stories / "run", device="cpu")


def test_a_split_is_scored_with_it(translator: Translator, stories: Path, tmp_path: Path) -> None:
    """Without the line before nobody could know who it is: the loss says so."""
    scores = evaluate_translator(translator, stories, "test")
    assert scores.scores.bleu > 90
    assert scores.loss is not None
    for side in ("zh", "en"):
        apart = "\n\n".join(lines_of(stories, "test", side)) + "\n"
        (tmp_path / f"test.{side}").write_text(apart, encoding="utf-8")
    alone = evaluate_translator(translator, tmp_path, "test")
    assert alone.loss is not None
    assert alone.loss > scores.loss + 0.1
    assert alone.scores.bleu < scores.scores.bleu


def test_a_shortlist_is_of_lines_alone(translator: Translator, stories: Path) -> None:
    """Learned as if nothing stood before them, and chosen so."""
    own: Any = {"best": 4, "frequent": 4}
    files, both = training_files(stories, translator.recipe), translator.tokenizers
    without = replace(translator.recipe, data=replace(translator.recipe.data, context=0))
    pair = [learned_from(encode_training(files, each, both), both, **own) for each in (translator.recipe, without)]
    assert pair[0].size == pair[1].size
    assert np.array_equal(pair[0].shortlist.likely, pair[1].shortlist.likely)
    view = replace(translator, shortlist=pair[0].shortlist)
    searching = [view.translating([RAN], SearchConfig(2), context=each) for each in ("", "狗来了。")]
    chosen = [batch.shortlists for each in searching for batch, _ in next(each)]
    assert np.array_equal(chosen[0][0], chosen[1][0])
    assert view.translate(RAN, context="狗来了。").text


def test_pairs_are_scored_and_lines_trusted_with_it(stories: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(stories / "run", run)
    best = filter_corpus(run, stories, keep=0.9, device="cpu")
    assert best.least is not None
    assert best.least > -0.3, "nobody could know who it is otherwise"
    for side in ("zh", "en"):  # more than the training text, which is refused
        texts = [(stories / f"{split}.{side}").read_bytes() for split in ("train", "test")]
        (tmp_path / f"more.{side}").write_bytes(b"".join(texts))
    made = calibrate(run, tmp_path, "more", beam=2, device="cpu")
    assert made.lines > 208
    reading = Translator.load(run, device="cpu")
    near, far = (reading.translate(RAN, context=each, confidence=True) for each in ("狗来了。", "狗来了。" * 20))
    assert near.confidence is not None
    pairs = [features(each)[-1] - np.log(len(each.log_probs)) for each in (near, far)]
    assert pairs[0] == pytest.approx(pairs[1]), "over the pieces of the line alone"
    compared = compare_translator(reading, stories, "test", beam=2)
    assert (compared.scores["BLEU"] or 0.0) > 90


def test_samples_are_translated_with_what_stands_before_them(stories: Path, tmp_path: Path) -> None:
    job: Any = prepare_new(merge(CONTEXT, {"validation": {"samples": 16}}), stories, source="here")
    (part,) = job.valid.parts
    lines = lines_of(stories, "valid", "zh")
    assert len(part.sampled) == len(part.before) > 4
    assert {(before, src) for before, (src, _) in zip(part.before, part.sampled, strict=True)} <= set(
        zip(["", *lines], lines, strict=False)
    )
    assert any(part.before)
    none: Any = prepare_new(merge(CONTEXT, {"data": {"context": 0}}), stories, source="here")
    assert not any(none.valid.parts[0].before)


def test_an_adapted_run_goes_on_reading_it(stories: Path, tmp_path: Path) -> None:
    """The key comes from the run that training begins with; one without the piece in its vocabulary cannot learn it."""
    tree: Any = {**merge(CONTEXT, {"train": {"max_steps": 2}}), "start": str(stories / "run")}
    for name in ("tokenizer", "model"):
        del tree[name]
    tree["data"] = {"drop_duplicates": False}
    run = train(write_recipe(tmp_path / "r.toml", tree), data=stories, out=tmp_path / "run").run
    assert Translator.load(run, device="cpu").sides.reads_context
    plain = merge(CONTEXT, {"data": {"context": 0}, "train": {"max_steps": 1}})
    old = train(write_recipe(tmp_path / "old.toml", plain), data=stories, out=tmp_path / "old").run
    asked = {**tree, "start": str(old), "data": {"drop_duplicates": False, "context": 1}}
    with pytest.raises(UsageError, match=r"data.context = 1: the vocabulary must have the piece <ctx>, that of start"):
        train(write_recipe(tmp_path / "new.toml", asked), data=stories, out=tmp_path / "new")


def test_the_report_says_how_many_have_it(stories: Path) -> None:
    report = json.loads((stories / "run" / "data-report.json").read_text(encoding="utf-8"))
    assert (report["train"]["pairs"], report["train"]["with_context"], report["train"]["shortened"]) == (208, 104, 0)
    assert report["valid"]["with_context"] == 8
    recipe = (stories / "run" / "recipe.toml").read_text(encoding="utf-8")
    assert "context = 1" in recipe
    assert 'marks = ["ctx"]' in recipe


def test_the_length_limit_is_of_lines(stories: Path, tmp_path: Path) -> None:
    """As that of a run that reads nothing before them."""
    tree = merge(CONTEXT, {"data": {"context": 0}, "train": {"max_steps": 1}})
    train(write_recipe(tmp_path / "r.toml", tree), data=stories, out=tmp_path / "run")
    limits = [
        json.loads((run / "data-report.json").read_text(encoding="utf-8"))["train"]["length_limit"]
        for run in (stories / "run", tmp_path / "run")
    ]
    assert limits[0] == limits[1]


def test_a_run_without_the_piece_cannot_read_it(toy_run: Path, toy_data: Path) -> None:
    with pytest.raises(UsageError, match=r"data.context = 1: the vocabulary of this run must have <ctx>, and has not"):
        filter_corpus(toy_run, toy_data, overrides=["data.context=1"], device="cpu")


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_resumed_run_is_the_same_to_the_bit(stories: Path, tmp_path: Path, dropout: float) -> None:
    changes = {"train": {"max_steps": 8, "checkpoint_every": 3, "evaluate_every": 4, "batch_tokens": 100}}
    small = merge(CONTEXT, {**changes, "tokenizer": {"dropout": dropout}, "validation": {"monitor": "bleu"}})
    recipe = write_recipe(tmp_path / "small.toml", small)
    whole = train(recipe, data=stories, out=tmp_path / "whole")
    train(recipe, data=stories, out=tmp_path / "cut", overrides=["train.max_steps=3"])
    cut = train(recipe, data=stories, out=tmp_path / "cut", resume=True)
    assert (cut.step, cut.scores) == (whole.step, whole.scores)
    weights = []
    for name in ("whole", "cut"):
        checkpoint = find_checkpoint(tmp_path / name, "latest")
        assert checkpoint is not None
        weights.append(load_weights(checkpoint)[0])
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_several_corpora_and_directions_have_their_own_lines_before(stories: Path, tmp_path: Path) -> None:
    corpora = [{"path": "a", "src": "zh", "tgt": "en"}, {"path": "b", "src": "en", "tgt": "zh"}]
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(stories, target_is_directory=True)
    tree = merge(CONTEXT, {"src": "", "tgt": "", "data": {"corpora": corpora}, "train": {"max_steps": 2}})
    run = train(write_recipe(tmp_path / "r.toml", tree), data=tmp_path, out=tmp_path / "run").run
    translator = Translator.load(run, device="cpu")
    there = translator.toward("en").translate(RAN, context="狗来了。")
    tags, marks = translator.tokenizers.src.tags, translator.tokenizers.src.marks
    assert [*marks] == ["ctx"]
    before = translator.tokenizers.src.encode("狗来了。")
    assert there.source_ids[: len(before) + 2] == [tags["en"], *before, marks["ctx"]]
    assert there.before == len(before) + 2
    assert translator.toward("zh").translate("it runs.").before == 1


def test_an_rnn_reads_it_too(stories: Path, tmp_path: Path) -> None:
    tree: Any = {key: value for key, value in CONTEXT.items() if key != "model"}
    tree |= {"task": "rnn_translation", "model": {"d_model": 16, "n_layers": 1, "max_seq_len": 64}}
    run = train(
        write_recipe(tmp_path / "r.toml", merge(tree, {"train": {"max_steps": 2}})), data=stories, out=tmp_path / "run"
    ).run
    found = Translator.load(run, device="cpu").translate(RAN, context="狗来了。")
    assert found.before > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"context": 2}}, "data.context = 2"),
        ({"data": {"context": "1"}}, "data.context"),
        (
            {"data": {"context": 1, "corpora": [{"path": "a", "tag": "ctx"}]}},
            "data.corpora: tag = 'ctx': with data.context = 1 it is the piece behind a context",
        ),
        (
            {"data": {"context": 1}, "start": "runs/old", "tokenizer": {"marks": []}},
            "data.context = 1: the vocabulary must have the piece <ctx>, that of start 'runs/old' has none",
        ),
        (
            {"data": {"context": 1}, "tokenizer": {"kind": "adopted"}},
            "data.context = 1: the vocabulary must have the piece <ctx>, the adopted one has none",
        ),
    ],
)
def test_what_cannot_be_is_told_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_translation(merge(RECIPE, changes), "here")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_corpus_of_its_own_kind_has_both_pieces() -> None:
    recipe = parse_translation(merge(CONTEXT, {"data": {"corpora": [{"path": "a", "tag": "bt"}]}}), "here")
    assert recipe.tokenizer.marks == ("bt", "ctx")
    assert recipe.leads == 1
    assert parse_translation(CONTEXT, "here").leads == 0
