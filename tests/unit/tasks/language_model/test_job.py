"""The training of a language model: every token once, seeds, evaluation, resuming, and starting from another run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.checkpoint import load_checkpoint
from clearhead.config import Tree, merge
from clearhead.data.demo_corpus import demo_pairs
from clearhead.errors import ModelError, UsageError
from clearhead.nn.lora import LoraLinear
from clearhead.runs.pointers import find_checkpoint
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.language_model.job import LanguageModelJob
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.verbs.train import train_run
from tests.toy import resumed

LM: Tree = {
    "task": "language_model",
    "name": "toy",
    "tokenizer": {"kind": "char", "vocab_size": 200, "min_frequency": 1},
    "data": {"separator": "line", "valid_fraction": 0.2},
    "model": {"d_model": 16, "d_ff": 32, "n_heads": 2, "n_layers": 2, "max_seq_len": 16},
    "train": {"max_steps": 12, "batch_tokens": 160, "warmup_steps": 2, "lr": 1e-2, "evaluate_every": 6},
}


RNN: Tree = {**LM, "task": "rnn_language_model", "model": {"d_model": 16, "max_seq_len": 16, "dropout": 0.2}}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("".join(f"{english}\n" for _, english in demo_pairs(60, 3)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return train_run(prepared(text), folder).run


def prepared(text: Path, **changes: Any) -> LanguageModelJob:
    return prepare_job(merge(LM, changes), "here", text)


@pytest.mark.parametrize("packing", ["cross", "isolated"])
def test_every_token_is_a_target_once_an_epoch(packing: str, text: Path) -> None:
    job = prepared(text, data={"packing": packing})
    batches = list(job.work().batches(0, 0))
    assert sum(batch.target_count for batch in batches) == len(job.train)
    assert (batches[0].document_ids is not None) is (packing == "isolated")
    later = list(job.work().batches(0, 2))
    assert all(torch.equal(one.ids, other.ids) for one, other in zip(later, batches[2:], strict=True))


def test_isolated_documents_are_predicted_as_if_alone(text: Path) -> None:
    job = prepared(text, data={"packing": "isolated"})
    model = job.model.eval()
    batch = next(iter(job.work().batches(0, 0)))
    assert batch.document_ids is not None
    with torch.inference_mode():
        states = model.hidden(batch.ids, positions=batch.positions, documents=batch.document_ids)
        for row in range(len(batch.ids)):
            for number in batch.document_ids[row].unique():
                here = (batch.document_ids[row] == number).nonzero()[:, 0]
                alone = model.hidden(batch.ids[row, here][None])
                torch.testing.assert_close(states[row, here], alone[0], rtol=1e-4, atol=1e-5)


def test_a_resumed_run_is_the_uninterrupted_one(run: Path, text: Path, tmp_path: Path) -> None:
    half = prepared(text, train={"max_steps": 7})
    train_run(half, tmp_path)
    train_run(resumed(tmp_path, text, max_steps=12), tmp_path)
    whole, again = (load_checkpoint(found(path), ("model",)).tensors["model"] for path in (run, tmp_path))
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def found(run: Path) -> Path:
    path = find_checkpoint(run, "latest")
    assert path is not None
    return path


@pytest.mark.long
def test_a_recurrent_run_is_resumed_scored_and_trained_further(text: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("whole", "run")]
    for folder, steps in zip(folders, (12, 7), strict=True):
        folder.mkdir()
        train_run(prepare_job(merge(RNN, {"train": {"max_steps": steps}}), "here", text), folder)
    train_run(resumed(folders[1], text, max_steps=12), folders[1])
    one, other = (load_checkpoint(found(path), ("model",)).tensors["model"] for path in folders)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert "recurrent (lstm), 2 layers, d_model 16, context 16" in (folders[1] / "README.md").read_text()
    further = prepare_job(merge(RNN, {"start": str(folders[0]), "model": {"dropout": 0.0}}), "here", text)
    assert further.taken is not None
    assert (further.taken.new, further.taken.left, further.model.config.dropout) == ([], [], 0.0)
    assert torch.equal(further.model.embedding.tokens.weight, one["embedding.tokens.weight"])
    with pytest.raises(ModelError, match="a run of the task language_model is needed, not 'rnn_language_model'"):
        prepared(text, start=str(folders[0]))


def test_a_run_starts_where_another_ended(run: Path, text: Path) -> None:
    job = prepared(text, start=str(run), model={"dropout": 0.3})
    source = LanguageModel.load(run, device="cpu").model
    assert job.model.config.d_model == 16
    assert job.model.config.dropout == 0.3
    assert job.taken is not None
    assert (job.taken.new, job.taken.left) == ([], [])
    assert "tensors loaded" in job.vocabulary()
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(job.model.eval()(ids), source.eval()(ids))


def test_lora_trains_little_and_is_merged_when_loaded(run: Path, text: Path, tmp_path: Path) -> None:
    job = prepared(text, start=str(run), lora={"rank": 2})
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    train_run(job, tmp_path)
    changed = {name for name, tensor in job.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(".lora_" in name for name in changed)
    loaded = LanguageModel.load(tmp_path, device="cpu").model
    assert not any(isinstance(module, LoraLinear) for module in loaded.modules())
    ids = torch.tensor([[5, 6, 7, 8]])
    torch.testing.assert_close(loaded.eval()(ids), job.model.eval()(ids), rtol=0, atol=1e-5)


def test_the_seed_decides(text: Path) -> None:
    one, same, other = (prepared(text, train={"seed": seed}) for seed in (1, 1, 2))
    weights = [next(iter(job.model.parameters())) for job in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_what_a_run_cannot_start_from(toy_run: Path, run: Path, text: Path) -> None:
    with pytest.raises(ModelError, match="a run of the task language_model is needed, not 'translation'"):
        prepared(text, start=str(toy_run))
    with pytest.raises(UsageError, match="no linear layer has such a name; there are down_proj, k_proj"):
        prepared(text, start=str(run), lora={"targets": ["nothing"]})
