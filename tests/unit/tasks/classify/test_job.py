"""The training of classifiers: learned, counted in epochs, frozen, unfrozen and resumed bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clearhead.checkpoint import load_checkpoint
from clearhead.config import Tree, merge
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.nn.lora import LoraLinear
from clearhead.runs.pointers import find_checkpoint
from clearhead.runs.text_parts import load_labelled_parts
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.job import ClassifyJob
from clearhead.training.writers import read_metrics
from clearhead.verbs.train import open_run, train_run
from tests.toy import CLASSIFY, labelled_lines, write_labelled, write_recipe


def prepared(data: Path, /, **changes: Any) -> ClassifyJob:
    return prepare_job(merge(CLASSIFY, changes), "here", data)


def new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def tensors_of(job: ClassifyJob) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in job.state.model.state_dict().items()}


def changed(job: ClassifyJob, before: dict[str, Tensor]) -> set[str]:
    now = job.state.model.state_dict()
    return {name for name, tensor in before.items() if tensor.numpy().tobytes() != now[name].numpy().tobytes()}


def test_it_learns_and_says_so(toy_classifier: Path) -> None:
    records = read_metrics(toy_classifier / "metrics.jsonl")
    evaluated = [record for record in records if record["event"] == "evaluated"]
    assert set(evaluated[-1]["scores"]) == {"loss", "accuracy", "macro_f1", "matthews"}
    assert evaluated[-1]["scores"]["accuracy"] > 0.95
    assert max(record["epoch"] for record in records if record["event"] == "stepped") == 5
    assert len(evaluated) == 6, "once a pass"
    card = (toy_classifier / "README.md").read_text(encoding="utf-8")
    assert "A classifier of 2 classes, for texts" in card
    assert f'clearhead classify {toy_classifier} "..."' in card


@pytest.mark.parametrize("accumulated", [1, 3])
def test_epochs_are_counted_in_steps_exactly(accumulated: int, labelled: Path) -> None:
    settings = {"grad_accum_steps": accumulated}
    job = prepared(labelled, finetune={"epochs": 3}, train=settings)
    work = job.work()
    steps = [-(-sum(1 for _ in work.batches(epoch, 0)) // accumulated) for epoch in range(3)]
    assert (job.max_steps, job.settings.max_steps, job.settings.evaluate_every) == (sum(steps),) * 2 + (
        -(-sum(steps) // 3),
    )
    capped = prepared(
        labelled, finetune={"epochs": 3}, train={**settings, "max_steps": 4, "evaluate_every": 2}
    ).settings
    assert (capped.max_steps, capped.evaluate_every) == (4, 2)
    endless = prepared(labelled, finetune={"epochs": 10_000}, train={**settings, "max_steps": 4}).settings
    assert endless.max_steps == 4
    assert min(steps) <= endless.evaluate_every <= max(steps), "after a pass, whatever the passes that are not counted"
    plain = prepared(labelled, finetune={"epochs": 0}, train={"max_steps": 7}).settings
    assert (plain.max_steps, plain.evaluate_every) == (7, 0)


def test_a_frozen_encoder_keeps_its_bytes(toy_classifier: Path, labelled: Path, tmp_path: Path) -> None:
    job = prepared(
        labelled,
        start=str(toy_classifier),
        finetune={"frozen": True, "epochs": 2},
        optim={"ema_decay": 0.9, "weight_decay": 0.1},
    )
    before = tensors_of(job)
    train_run(job, tmp_path)
    moved = changed(job, before)
    assert moved == {f"{part}.{kind}" for part in ("bert.pooler.proj", "head.out_proj") for kind in ("weight", "bias")}
    best = find_checkpoint(tmp_path)
    assert best is not None
    averaged = load_checkpoint(best).tensors["ema"]
    assert all(torch.equal(averaged[name], before[name]) for name in averaged.keys() - moved)
    assert not job.state.model.bert.layers[0].training, "without dropout"


@pytest.mark.long
def test_a_frozen_encoder_keeps_its_statistics_too(labelled: Path, tmp_path: Path) -> None:
    first = prepared(labelled, model={"block": {"norm": "batch"}}, finetune={"epochs": 1})
    train_run(first, new(tmp_path / "first"))
    job = prepared(labelled, start=str(tmp_path / "first"), finetune={"frozen": True, "epochs": 1})
    before = tensors_of(job)
    train_run(job, new(tmp_path / "second"))
    assert any("running" in name for name in before)
    assert {name.split(".")[1] for name in changed(job, before)} == {"pooler", "out_proj"}


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_layers_move_at_their_own_rates(optimizer: str, labelled: Path, toy_classifier: Path, tmp_path: Path) -> None:
    """One step of a rate so small that nothing else matters: each layer moves half as far as the one above it."""
    settings = {
        "start": str(toy_classifier),
        "optim": {"name": optimizer, "schedule": "constant", "grad_clip_norm": 0.0},
    }
    still = {"model": {"dropout": 0.0, "block": {"attn_dropout": 0.0}}}
    train = {"train": {"max_steps": 1, "warmup_steps": 0, "lr": 1e-5}}
    moves = []
    for decay in (1.0, 0.5):
        job = prepared(labelled, **settings, **still, **train, finetune={"layer_decay": decay})
        before = tensors_of(job)
        train_run(job, new(tmp_path / str(decay)))
        now = job.state.model.state_dict()
        moves.append({name: float((now[name] - before[name]).norm()) for name in before})
    for part, factor in (
        ("head.out_proj", 1.0),
        ("bert.layers.1.mlp.up_proj", 0.5),
        ("bert.layers.0.mlp.up_proj", 0.25),
    ):
        assert moves[1][f"{part}.weight"] == pytest.approx(factor * moves[0][f"{part}.weight"], rel=0.02), part


def test_lora_trains_little_and_is_merged_when_loaded(labelled: Path, toy_classifier: Path, tmp_path: Path) -> None:
    job = prepared(labelled, start=str(toy_classifier), lora={"rank": 2}, finetune={"epochs": 2})
    assert job.taken is not None
    assert {name.rpartition(".")[2] for name in job.taken.new} == {"lora_a", "lora_b"}
    before = tensors_of(job)
    train_run(job, tmp_path)
    assert all(".lora_" in name or "pooler" in name or name.startswith("head.") for name in changed(job, before))
    loaded = Classifier.load(tmp_path, checkpoint="latest", device="cpu").model
    assert not any(isinstance(module, LoraLinear) for module in loaded.modules())
    ids = torch.tensor([[4, 8, 9, 5]])
    torch.testing.assert_close(loaded.eval()(ids), job.state.model.eval()(ids), rtol=0, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("stop", [2, 5, 8])
def test_unfreezing_resumes_bit_for_bit(stop: int, labelled: Path, toy_classifier: Path, tmp_path: Path) -> None:
    """Before, at and after steps at which layers open_run to learn; Adam's moments open_run with them."""
    tree = merge(
        CLASSIFY,
        {
            "finetune": {"unfreeze_every": 2, "layer_decay": 0.7, "epochs": 0},
            "loss": {"class_weights": "balanced", "label_smoothing": 0.1},
            "optim": {"ema_decay": 0.9, "schedule": "constant"},
            "train": {"max_steps": 10, "evaluate_every": 4},
        },
    )
    recipe = write_recipe(tmp_path / "tuned.toml", tree)
    changes = [f"start={str(toy_classifier)!r}"]
    run = tmp_path / "run"
    with open_run(recipe, labelled, tmp_path / "whole", overrides=changes) as whole:
        train_run(whole.job, whole.path)
    with open_run(recipe, labelled, run, overrides=[*changes, f"train.max_steps={stop}"]) as first:
        train_run(first.job, run)
    slots = load_checkpoint(run / "checkpoints" / f"step-{stop:08d}").tensors["optimizer"]
    assert ("exp_avg/bert.embedding.tokens.weight" in slots) == (stop > 6)
    with open_run(recipe, labelled, run, overrides=changes, resume=True) as second:
        train_run(second.job, run)
    a, b = (load_checkpoint(folder / "checkpoints" / "step-00000010") for folder in (tmp_path / "whole", run))
    for stem, tensors in a.tensors.items():
        assert [name for name in tensors if not torch.equal(tensors[name], b.tensors[stem][name])] == []


@pytest.mark.long
def test_word_dropout_is_of_training_alone_and_resumes_bit_for_bit(
    labelled: Path, toy_classifier: Path, tmp_path: Path
) -> None:
    tree = merge(CLASSIFY, {"finetune": {"word_dropout": 0.3, "epochs": 0}, "train": {"max_steps": 8}})
    job = prepare_job(tree, "here", labelled)
    hidden = job.parts.tokenizer.ids.mask
    shares = [float((batch.ids == hidden).sum() / batch.mask.sum()) for batch in job.work().batches(0, 0)]
    assert 0.1 < sum(shares) / len(shares) < 0.3
    plain = prepare_job(merge(tree, {"finetune": {"word_dropout": 0.0}}), "here", labelled)
    assert job.work().evaluate(job.state.model.eval()) == plain.work().evaluate(plain.state.model.eval())
    for start in ("", str(toy_classifier)):
        fresh = prepared(labelled, start=start, finetune={"word_dropout": 0.3, "fresh": bool(start)})
        assert any((batch.ids == hidden).any() for batch in fresh.work().batches(0, 0)), "from scratch too"
    resumes_bit_for_bit(tree, labelled, tmp_path)


def resumes_bit_for_bit(tree: Tree, labelled: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "tuned.toml", tree)
    for run, steps in (("whole", (8,)), ("cut", (3, 8))):
        for number, stop in enumerate(steps):
            changes = [f"train.max_steps={stop}"]
            with open_run(recipe, labelled, tmp_path / run, overrides=changes, resume=number > 0) as begun:
                train_run(begun.job, begun.path)
    a, b = (load_checkpoint(tmp_path / run / "checkpoints" / "step-00000008") for run in ("whole", "cut"))
    for stem, tensors in a.tensors.items():
        assert [name for name in tensors if not torch.equal(tensors[name], b.tensors[stem][name])] == []


@pytest.mark.long
def test_bpe_dropout_is_of_training_alone_and_resumes_bit_for_bit(labelled: Path, tmp_path: Path) -> None:
    bpe = {"kind": "byte_bpe", "vocab_size": 320}
    tree = merge(CLASSIFY, {"tokenizer": {**bpe, "dropout": 0.3}, "finetune": {"epochs": 0}, "train": {"max_steps": 8}})
    job, plain = (prepare_job(one, "here", labelled) for one in (tree, merge(tree, {"tokenizer": {"dropout": 0.0}})))
    longer, shorter = ([int(b.mask.sum()) for b in one.work().batches(0, 0)] for one in (job, plain))
    assert sum(longer) > 1.1 * sum(shorter)
    assert job.work().evaluate(job.state.model.eval()) == plain.work().evaluate(plain.state.model.eval())
    resumes_bit_for_bit(tree, labelled, tmp_path)


def test_a_vocabulary_that_is_taken_over_may_fall_into_other_pieces(
    labelled: Path, toy_classifier: Path, tmp_path: Path
) -> None:
    bpe = {"kind": "byte_bpe", "vocab_size": 320}
    recipe = write_recipe(tmp_path / "bpe.toml", merge(CLASSIFY, {"tokenizer": bpe}))
    with open_run(recipe, labelled, tmp_path / "start", overrides=["finetune.epochs=1"]) as begun:
        train_run(begun.job, begun.path)
    start = str(begun.path)
    plain, drawn = (
        prepared(labelled, start=start, tokenizer=bpe),
        prepared(labelled, start=start, tokenizer={**bpe, "dropout": 0.3}),
    )
    shorter, longer = ([int(b.mask.sum()) for b in job.work().batches(0, 0)] for job in (plain, drawn))
    assert sum(longer) > 1.1 * sum(shorter)
    with pytest.raises(UsageError, match=r"dropout = 0.3: kind must be byte_bpe or bpe for BPE-dropout, not wordpiece"):
        prepared(labelled, start=str(toy_classifier), tokenizer={"dropout": 0.3})


@pytest.mark.long
def test_pairs_and_numbers_train_too(tmp_path: Path) -> None:
    data = write_labelled(tmp_path / "pairs", labelled_lines(20, pairs=True), labelled_lines(6, pairs=True))
    batch = next(prepared(data).work().batches(0, 0))
    assert int(batch.segments.max()) == 1
    lines = [f"{1000 + 10 * line.count('great')}\t{line.partition(chr(9))[2]}" for line in labelled_lines(60)]
    data = write_labelled(tmp_path / "numbers", lines, lines[:20])
    job = prepared(data, data={"kind": "number"}, validation={"monitor": "spearman"}, finetune={"epochs": 20})
    result = train_run(job, tmp_path)
    assert result.scores["pearson"] > 0.9
    assert result.scores["mse"] < job.labels.deviation**2 / 2, "in the numbers' own unit, however large they are"
    assert "A classifier that gives a number, for texts" in (tmp_path / "README.md").read_text()


def test_long_lines_are_cut_and_counted_or_refused(tmp_path: Path) -> None:
    data = write_labelled(tmp_path / "data", [*labelled_lines(6), "good\t" + "film " * 40], labelled_lines(4))
    report = prepared(data).reports()["train"]
    assert (report.truncated, report.pieces_in - report.pieces_used) == (1, 40 - 22)
    assert "  1 lines truncated" in report.lines()
    with pytest.raises(DataError, match=r"train\.tsv line 7: 42 pieces and marks, more than max_seq_len = 24"):
        prepared(data, data={"overlong": "error"})


@pytest.mark.parametrize(
    ("train", "valid", "expected"),
    [
        (["a\tx", "b\ty"], ["c\tz"], r"valid\.tsv line 1: label 'c' is not in the training lines"),
        (["a\tx", "a\ty"], ["a\tz"], r"train\.tsv: every line has the label 'a', at least two classes"),
        (["a\tx", "b"], ["a\tz"], r"train\.tsv line 2: 1 columns, must be label<TAB>text"),
        (["a\tx", "b\t "], ["a\tz"], r"train\.tsv line 2: the text is empty"),
        (["a\tx", "b\ty"], ["a\tz\tz"], r"valid\.tsv line 1: two texts a line, but one in training"),
    ],
)
def test_lines_that_cannot_be_used(train: list[str], valid: list[str], expected: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=expected):
        prepared(write_labelled(tmp_path / "data", train, valid))


def test_a_run_goes_on_with_its_own_labels_alone(toy_classifier: Path, labelled: Path, tmp_path: Path) -> None:
    tree = merge(CLASSIFY, {"data": {"valid_fraction": 0.2}})
    assert prepare_job(tree, "here", labelled, run=toy_classifier).labels == load_labelled_parts(toy_classifier).labels
    other = write_labelled(tmp_path / "data", ["yes\ta", "no\tb"], ["yes\ta"])
    with pytest.raises(DataError, match=r"its labels are not those that run .* was trained on"):
        prepare_job(tree, "here", other, run=toy_classifier)


def test_what_cannot_be_started_from(toy_lm_run: Path, toy_classifier: Path, labelled: Path) -> None:
    with pytest.raises(ModelError, match="a run of the task masked or classify is needed, not 'language_model'"):
        prepared(labelled, start=str(toy_lm_run))
    with pytest.raises(UsageError, match="no linear layer has such a name"):
        prepared(labelled, start=str(toy_classifier), lora={"targets": ["x"]})
