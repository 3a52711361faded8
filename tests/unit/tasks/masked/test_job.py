"""The pretraining of a BERT: it learns, resumes bit for bit, is the same for any workers, and starts from others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearhead.checkpoint import load_checkpoint
from clearhead.config import Tree, merge
from clearhead.errors import ModelError, UsageError
from clearhead.runs.pointers import find_checkpoint
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.masked.job import MaskedJob
from clearhead.tasks.masked.model import MaskedModel
from clearhead.verbs.train import train_run
from clearhead.verbs.trial import try_steps
from tests.toy import resumed

BERT: Tree = {
    "task": "masked",
    "name": "toy",
    "tokenizer": {"kind": "wordpiece", "vocab_size": 200, "min_frequency": 1},
    "data": {"separator": "blank_line"},
    "model": {"d_model": 32, "d_ff": 64, "n_heads": 2, "n_layers": 2, "max_seq_len": 32, "dropout": 0.1},
    "train": {"max_steps": 12, "batch_tokens": 400, "warmup_steps": 2, "lr": 3e-3, "evaluate_every": 6},
}
TOPICS = ("red green blue black white pink", "one two three four five six", "cat dog cow pig hen fox")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of one topic each, whose sentences are parts of an order that is always the same."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("text")
    for stem, count in (("train", 120), ("valid", 30)):
        documents = []
        for number in range(count):
            words = (TOPICS[number % 3] + " ") * 3
            starts, lengths = rng.integers(0, 6, 8), rng.integers(4, 9, 8)
            cut = [words.split()[at : at + length] for at, length in zip(starts, lengths, strict=True)]
            documents.append("\n".join(" ".join(sentence) + "." for sentence in cut))
        (folder / f"{stem}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(prepared(text), tmp_path_factory.mktemp("run")).run


def prepared(text: Path, **changes: Any) -> MaskedJob:
    return prepare_job(merge(BERT, changes), "here", text)


def weights(run: Path) -> dict[str, torch.Tensor]:
    path = find_checkpoint(run, "latest")
    assert path is not None
    return dict(load_checkpoint(path, ("model",)).tensors["model"])


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.long
def test_both_tasks_are_learned(text: Path, tmp_path: Path) -> None:
    sizes = {"dropout": 0.0, "position": "rotary", "block": {"attn_dropout": 0.0}}
    train = {"max_steps": 360, "batch_tokens": 1000, "warmup_steps": 20, "lr": 5e-3, "evaluate_every": 0}
    job = prepared(text, model=sizes, train=train, optim={"name": "muon", "schedule": "constant"})
    scores = train_run(job, tmp_path).scores
    assert list(scores) == ["loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"]
    assert scores["mlm_accuracy"] > 0.7, "the order says which piece it is; 1 in 7 by chance"
    assert scores["nsp_accuracy"] > 0.7, "one random document in three is of the same topic"
    card = (tmp_path / "README.md").read_text()
    assert "encoder-only Transformer, 2 layers, d_model 32, rows of 32" in card
    assert f'clearhead fill {tmp_path} "... [MASK] ..."' in card
    assert "mlm_accuracy 0." in card


@pytest.mark.long
def test_a_resumed_run_is_the_uninterrupted_one(run: Path, text: Path, tmp_path: Path) -> None:
    train_run(prepared(text, train={"max_steps": 7}), tmp_path)
    train_run(resumed(tmp_path, text, max_steps=12), tmp_path)
    assert equal(weights(run), weights(tmp_path))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_change_nothing(run: Path, text: Path, tmp_path: Path) -> None:
    train_run(prepared(text, data={"workers": 2}), tmp_path)
    assert equal(weights(run), weights(tmp_path))


def test_epochs_differ_and_evaluation_does_not(text: Path) -> None:
    job = prepared(text)
    work = job.work()
    first, again, later = (next(iter(work.batches(epoch, 0))) for epoch in (0, 0, 1))
    assert torch.equal(first.ids, again.ids)
    assert first.ids.shape != later.ids.shape or not torch.equal(first.ids, later.ids)
    with torch.inference_mode():
        scores = [work.evaluate(job.model.eval()) for _ in range(2)]
    assert scores[0] == scores[1]


def test_batches_hold_padded_positions(text: Path) -> None:
    batches = list(prepared(text).work().batches(0, 0))
    assert all(batch.ids.numel() <= 400 for batch in batches)
    assert max(batch.ids.numel() for batch in batches) > 300
    with pytest.raises(UsageError, match=r"must be at least model.max_seq_len = 32"):
        prepared(text, train={"batch_tokens": 31})


def test_a_dry_run_measures_the_largest_batch(text: Path) -> None:
    job = prepared(text)
    plan, largest = job.first_epoch()
    sizes = [batch.ids.numel() for batch in job.work().batches(0, 0)]
    assert (len(plan), sizes[largest]) == (len(sizes), max(sizes))
    found = try_steps(job, steps=2)
    assert found.shapes.keys() == {"ids", "segments", "mask", "positions", "targets", "next_labels", "documents"}
    assert np.prod(found.shapes["ids"]) == max(sizes)
    single = try_steps(prepared(text, masked={"next_sentence": False}), steps=1)
    assert "next_labels" not in single.shapes
    assert single.tokens_per_second > 0


def test_the_report_adds_up(text: Path) -> None:
    job = prepared(text)
    tree = job.reports()["train"].as_dict()
    assert (tree["documents"], tree["sentences"]) == (120, 960)
    assert tree["tokens"] == tree["used"] + tree["dropped"]
    assert any(f"{tree['used']:,} used + 0 dropped" in line for line in job.reports()["train"].lines())


def test_a_run_starts_where_another_ended(run: Path, text: Path) -> None:
    rates = {"dropout": 0.3, "block": {"attn_dropout": 0.2}}
    job = prepared(text, start=str(run), model=rates)
    source = MaskedModel.load(run, device="cpu").model
    config = job.model.config
    assert (config.d_model, config.dropout, config.block.attn_dropout) == (32, 0.3, 0.2)
    assert job.taken is not None
    assert (job.taken.new, job.taken.left) == ([], [])
    assert "tensors loaded" in job.vocabulary()
    ids = torch.tensor([[4, 8, 9, 6, 5]])
    one, other = job.model.eval()(ids), source.eval()(ids)
    assert torch.equal(one.mlm, other.mlm)
    assert one.nsp is not None
    assert other.nsp is not None
    assert torch.equal(one.nsp, other.nsp)
    alone = prepared(text, start=str(run), masked={"next_sentence": False})
    assert alone.taken is not None
    assert {name.split(".")[0] for name in alone.taken.left} == {"nsp_head", "bert"}


def test_the_seed_decides(text: Path) -> None:
    one, same, other = (prepared(text, train={"seed": seed}).model.mlm_head.proj.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_what_a_bert_cannot_start_from(toy_lm_run: Path, run: Path, text: Path) -> None:
    with pytest.raises(ModelError, match="a run of the task masked is needed, not 'language_model'"):
        prepared(text, start=str(toy_lm_run))


def test_rows_of_a_trained_model_are_no_longer_than_a_batch(run: Path, text: Path) -> None:
    """Its sizes are given, and longer rows than the recipe has room for are not called for."""
    for tokens in (20, 900):
        job = prepared(text, start=str(run), train={"batch_tokens": tokens})
        assert (job.recipe.model.max_seq_len, job.recipe.row_length) == (32, min(tokens, 32))
        longest = max(batch.ids.shape[1] for batch in job.work().batches(0, 0))
        assert longest <= job.recipe.row_length
        assert longest > job.recipe.row_length - 8
    with pytest.raises(
        UsageError, match=r"train.batch_tokens = 400: must be at least model.max_seq_len = 512, one row"
    ):
        prepared(text, model={"max_seq_len": 512})
