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
from tests.foreign import write_marian
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
    assert (len(run.train), len(run.valid.parts[0].store)) == (PAIRS, 2 * HELD_OUT)


def test_evaluation_is_the_mean_whatever_the_batches(toy_data: Path) -> None:
    run = prepared(toy_data)
    model, device = run.state.model.eval(), torch.device("cpu")
    with torch.inference_mode():
        store = run.valid.parts[0].store
        losses = [mean_loss(model, store, batch_tokens=size, device=device) for size in (1, 100, 9999)]
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


ADAPTED: Tree = {"train": {**RECIPE["train"], "max_steps": 6, "evaluate_every": 3}, "data": {"max_len": 62}}  # type: ignore[dict-item]


def adapted(folder: Path, start: Path, **changes: Any) -> TranslationJob:
    return prepare_job(merge(ADAPTED, {"start": str(start), "task": "translation", **changes}), "here", folder)


def test_a_translator_is_adapted_from_where_it_stands(toy_run: Path, toy_data: Path, tmp_path: Path) -> None:
    """Its weights, vocabulary, sizes and languages; the run, its steps and its best score are new."""
    start = Translator.load(toy_run, device="cpu")
    job = adapted(toy_data, toy_run, model={"dropout": 0.0})
    assert job.taken is not None
    assert (job.taken.new, job.taken.left) == ([], [])
    parameters = (model.parameters() for model in (job.model, start.model))
    assert all(torch.equal(own, theirs) for own, theirs in zip(*parameters, strict=True))
    assert job.parts.contents() == {name: (toy_run / name).read_bytes() for name in ("tokenizer/joint.json",)}
    assert (job.recipe.src, job.recipe.tgt, job.recipe.model) == ("zh", "en", start.recipe.model)
    assert (job.state.step, job.state.scores, job.state.best_score) == (0, {}, None)
    assert job.taken.line() in job.vocabulary()
    (tmp_path / "run").mkdir()
    train_run(job, tmp_path / "run")
    fresh = prepared(toy_data, max_steps=6)
    (tmp_path / "fresh").mkdir()
    train_run(fresh, tmp_path / "fresh")
    losses = [mean_loss(each.model.eval(), each.train, batch_tokens=600, device=each.device) for each in (job, fresh)]
    assert losses[0] < 1 < losses[1] - 3
    again = Translator.load(tmp_path / "run", device="cpu")
    assert again.step <= 6
    resumed(tmp_path / "run", toy_data, max_steps=8)  # needs the model that it began with no more


def test_an_adapted_translator_may_learn_small_products_alone(toy_run: Path, toy_data: Path, tmp_path: Path) -> None:
    job = adapted(toy_data, toy_run, lora={"rank": 2})
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    (tmp_path / "run").mkdir()
    train_run(job, tmp_path / "run")
    changed = [name for name, tensor in job.model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed
    assert all("lora" in name or "down" in name or "up" in name for name in changed), changed
    texts = [
        each.text for each in Translator.load(tmp_path / "run", device="cpu", engine="torch").translate(["我喝水。"])
    ]
    assert texts == [each.text for each in Translator.load(tmp_path / "run", engine="native").translate(["我喝水。"])]


def test_general_text_is_mixed_in(toy_run: Path, two_ways: Path) -> None:
    """Two corpora of one direction, one of which is not judged by: a domain, and what is not to be forgotten."""
    corpora = [{"path": "other"}, {"path": "one", "weight": 0.5, "judged": False}]
    job = adapted(two_ways, toy_run, data={"corpora": corpora})
    assert [part.corpus.judged for part in job.valid.parts] == [True, False]
    scores = job.evaluate(job.model)
    assert scores["loss"] == scores["loss/other"] != scores["loss/one"]


def test_a_marian_is_adapted(toy_data: Path, tmp_path: Path) -> None:
    """Its languages are those of the folder, or of the recipe where the folder says none."""
    folder = write_marian(tmp_path / "theirs")
    (tmp_path / "data").mkdir()
    for stem in ("train", "valid"):
        (tmp_path / "data" / f"{stem}.en").write_text("He eats an apple.\nHe eats.\n", encoding="utf-8")
        (tmp_path / "data" / f"{stem}.zh").write_text("他吃了一个苹果。\n他吃了。\n", encoding="utf-8")
    job = adapted(tmp_path / "data", folder, data={"max_len": 30})
    assert job.taken is not None
    assert (job.taken.new, job.taken.left) == ([], [])
    assert (job.recipe.src, job.recipe.tgt, job.recipe.tokenizer.kind) == ("en", "zh", "adopted")
    (tmp_path / "run").mkdir()
    train_run(job, tmp_path / "run")
    assert Translator.load(tmp_path / "run", device="cpu").translate("He eats.").pieces
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UsageError, match="does not say its languages: add --src and --tgt"):
        adapted(tmp_path / "data", folder, data={"max_len": 30})
    assert adapted(tmp_path / "data", folder, data={"max_len": 30}, src="en", tgt="zh").recipe.tgt == "zh"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"d_model": 32}}, "model.d_model = 32: start '.*run' has 64, and its weights fit nothing else"),
        ({"tokenizer": {"vocab_size": 500}}, "tokenizer.vocab_size = 500: start"),
        ({"task": "rnn_translation"}, "a run of the task rnn_translation is needed, not 'translation'"),
        ({"data": {"corpora": [{"path": "one"}, {"path": "other", "src": "en", "tgt": "zh"}]}}, "tokenizer.tags = "),
    ],
)
def test_what_does_not_fit_the_start_is_told(changes: Any, said: str, toy_run: Path, two_ways: Path) -> None:
    with pytest.raises((UsageError, ModelError), match=said):
        adapted(two_ways, toy_run, **changes)


def test_a_translator_of_several_languages_is_adapted_in_one_of_them(two_ways: Path) -> None:
    """Its sources keep their tags."""
    job = adapted(two_ways / "one", two_ways / "run", src="en", tgt="zh", data={"max_len": 61})
    tag = job.parts.both.src.tags["zh"]
    assert {row[0] for batch in job.work().batches(0, 0) for row in batch.src_ids.tolist()} == {tag}
    with pytest.raises(UsageError, match="no tag for 'fr', the vocabulary has en, zh"):
        adapted(two_ways / "one", two_ways / "run", src="en", tgt="fr", data={"max_len": 61})
