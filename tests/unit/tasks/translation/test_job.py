"""The training of a translator: seeds, order, drawn pieces, evaluation, what is scanned, and its model card."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.checkpoint import load_checkpoint
from clearhead.config import Tree, merge
from clearhead.data import corpus
from clearhead.data.translation import Batch
from clearhead.errors import ModelError, UsageError
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.translation.job import TranslationJob
from clearhead.tasks.translation.recipe import mean_loss
from clearhead.tasks.translation.translator import Translator
from clearhead.training.writers import read_metrics
from clearhead.verbs.load import load
from clearhead.verbs.train import train_run
from tests.toy import HELD_OUT, PAIRS, RECIPE, clearhead, resumed


def prepared(data: Path, **train: Any) -> TranslationJob:
    return prepare_job(merge(RECIPE, {"train": train}), "here", data)


def test_the_seed_decides_on_weights_and_order(toy_data: Path) -> None:
    one, same, other = (prepared(toy_data, seed=seed) for seed in (1, 1, 2))
    weights = [next(iter(run.state.model.parameters())) for run in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    orders = [
        [batch.indices.tolist() for batch in run.work().batches(epoch, 0)]
        for run, epoch in ((one, 0), (same, 0), (other, 0), (one, 1))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != orders[3]
    assert [batch.indices.tolist() for batch in one.work().batches(0, 1)] == orders[0][1:]
    assert sorted(row for rows in orders[0] for row in rows) == list(range(PAIRS))


def test_pieces_are_drawn_anew_in_training_where_the_recipe_says_so(toy_data: Path) -> None:
    run = prepare_job(merge(RECIPE, {"tokenizer": {"dropout": 0.5}}), "here", toy_data)
    drawn = [{i: ids for batch in run.work().batches(epoch, 0) for i, ids in by_pair(batch)} for epoch in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert sum(drawn[0][i] == drawn[2][i] for i in range(PAIRS)) < PAIRS / 4
    assert sum(map(len, drawn[0].values())) > 1.1 * (run.train.lengths[1] + 1).sum()


def by_pair(batch: Batch) -> list[tuple[int, list[int]]]:
    targets = [[piece for piece in row if piece] for row in batch.targets.tolist()]
    return list(zip(batch.indices.tolist(), targets, strict=True))


def test_equal_pairs_are_trained_on_once_but_all_judged(toy_data: Path, tmp_path: Path) -> None:
    for path in toy_data.iterdir():
        (tmp_path / path.name).write_bytes(2 * path.read_bytes())
    run = prepared(tmp_path)
    assert (len(run.train), len(run.valid.store)) == (PAIRS, 2 * HELD_OUT)


def test_evaluation_is_the_mean_whatever_the_batches(toy_data: Path) -> None:
    run = prepared(toy_data)
    model, device = run.state.model.eval(), torch.device("cpu")
    with torch.inference_mode():
        losses = [mean_loss(model, run.valid.store, batch_tokens=size, device=device) for size in (1, 100, 9999)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    with torch.inference_mode():
        assert run.work().evaluate(model) == {"loss": pytest.approx(losses[0], rel=1e-5)}


def test_the_text_is_scanned_once(toy_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, seen = corpus._scan, list[str]()

    def counting(path: Path) -> Any:
        seen.append(path.name)
        return plain(path)

    monkeypatch.setattr(corpus, "_scan", counting)
    prepared(toy_data)
    assert seen == ["train.zh", "train.en", "valid.zh", "valid.en"]


def test_the_card_tells_languages_sizes_data_and_scores(toy_run: Path) -> None:
    card = (toy_run / "README.md").read_text(encoding="utf-8")
    count = sum(parameter.numel() for parameter in load(toy_run).model.parameters())
    for part in (
        "# run\n",
        "from `zh` to `en`",
        f"1 + 2 layers, d_model 64, {count:,} parameters",
        "byte_bpe, 400 source and 400 target pieces",
        "| trained | 120 steps",
        f"{PAIRS} lines read, {PAIRS} kept as {PAIRS} pairs",
    ):
        assert part in card
    assert re.search(r"\| valid \| loss \d\.\d{3} \|", card)


def test_its_commands_run(toy_run: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = (toy_run / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    clearhead (.*)$", card, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        words = [str(toy_data) if word == "DIR" else word.replace("...", "我") for word in shlex.split(command)]
        assert clearhead(capsys, *words).code == 0, command


@pytest.mark.long
@pytest.mark.parametrize("attention", ["none", "additive"])
def test_a_recurrent_run_is_trained_resumed_and_used_by_the_same_verbs(
    attention: str, toy_data: Path, tmp_path: Path
) -> None:
    tree = recurrent({"attention": attention, "dropout": 0.2}, max_steps=6)
    whole = train_run(prepare_job(tree, "here", toy_data), folder(tmp_path / "whole")).run
    run = train_run(
        prepare_job(merge(tree, {"train": {"max_steps": 3}}), "here", toy_data), folder(tmp_path / "run")
    ).run
    train_run(resumed(run, toy_data, max_steps=6), run)
    one, other = (load_checkpoint(path / "checkpoints" / "step-00000006").tensors for path in (whole, run))
    for stem, tensors in one.items():
        assert [name for name in tensors if not torch.equal(tensors[name], other[stem][name])] == []
    assert f"recurrent encoder-decoder (gru, attention {attention}), 2 + 2 layers" in (run / "README.md").read_text()
    translator = Translator.load(run)
    texts = ["我吃了一个苹果。", "我", "他们喜欢猫。"]
    for beam in (1, 3):
        together = translator.translate(texts, beam=beam, prefix="the", avoid=["green"])
        assert [one.text for one in together] == [
            translator.translate([text], beam=beam, prefix="the", avoid=["green"])[0].text for text in texts
        ]
        assert all(one.text.startswith("the") for one in together)
    trace = translator.trace(texts[0])
    assert [step.chosen for step in trace.steps] == translator.translate(texts[:1], beam=1)[0].target_ids
    assert trace.steps[0].bytes_read > trace.steps[0].bytes_written > 0
    if attention == "none":
        with pytest.raises(ModelError, match=r"^alignment: the model has model.attention = 'none'"):
            translator.translate(texts, alignment=True)
    else:
        found = translator.translate(texts, alignment=True)
        assert [len(one.alignment or []) for one in found] == [len(one.pieces) for one in found]


@pytest.mark.long
def test_a_recurrent_translator_learns(toy_data: Path, tmp_path: Path) -> None:
    tree = recurrent({"d_model": 32, "n_layers": 1, "attention": "none"}, max_steps=40)
    train_run(prepare_job(tree, "here", toy_data), tmp_path)
    losses = [record["loss"] for record in read_metrics(tmp_path / "metrics.jsonl") if record["event"] == "stepped"]
    assert losses[-1] < 0.7 * losses[0]


def test_recurrent_recipes_that_cannot_be_used(toy_data: Path) -> None:
    with pytest.raises(UsageError, match=r"^model.d_model = 7: must be even"):
        prepare_job(recurrent({"d_model": 7}), "here", toy_data)
    with pytest.raises(UsageError, match=r"^here: unknown key 'model.n_heads'"):
        prepare_job(recurrent({"n_heads": 4}), "here", toy_data)


def recurrent(model: dict[str, Any], **train: Any) -> Tree:
    sizes = {"d_model": 16, "n_layers": 2, "cell": "gru", "max_seq_len": 64, **model}
    return {**merge(RECIPE, {"train": train}), "task": "rnn_translation", "model": sizes}


def folder(path: Path) -> Path:
    path.mkdir()
    return path
