"""What a language model is made of: recipe, loss over the targets that count, the total over a split."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.config import merge
from clearhead.errors import UsageError
from clearhead.loss import plain_loss
from clearhead.models.gpt import GPT
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.language_model.job import LanguageModelJob
from clearhead.tasks.language_model.recipe import language_model_loss, total_loss
from clearhead.text.special import NO_TARGET
from tests.unit.tasks.language_model.test_job import LM


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("the green apple is on the table\nshe has not read this book\n" * 20, encoding="utf-8")
    return path


def prepared(text: Path, **changes: Any) -> LanguageModelJob:
    return prepare_job(merge(LM, changes), "here", text)


def test_evaluation_is_the_same_whatever_the_batches(text: Path) -> None:
    job = prepared(text)
    settings = {"stride": 4, "isolated": False, "device": torch.device("cpu")}
    totals = [total_loss(job.model.eval(), job.valid, batch_tokens=size, **settings) for size in (16, 100, 9999)]
    assert totals == pytest.approx([totals[0]] * 3, rel=1e-5)
    with torch.inference_mode():
        assert job.work().evaluate(job.model)["loss"] > totals[0] / len(job.valid) * 0.9


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"train": {"batch_tokens": 15}}, "train.batch_tokens = 15: must be at least model.max_seq_len = 16"),
        ({"validation": {"monitor": "bleu"}}, "validation.monitor = 'bleu': must be one of loss"),
        (
            {"tokenizer": {"kind": "byte_bpe", "vocab_size": 400, "dropout": 0.1}},
            "tokenizer.dropout = 0.1: text is encoded once",
        ),
        ({"lora": {"rank": 2}}, "lora: adapts a trained model; name it with start"),
        ({"model": {"block": {"norm": "instance"}}}, "model.block.norm = 'instance': looks at other positions"),
    ],
)
def test_recipes_that_do_not_fit_together(change: dict[str, Any], expected: str, text: Path) -> None:
    with pytest.raises(UsageError, match=expected):
        prepared(text, **change)


@pytest.mark.parametrize("packing", ["cross", "isolated"])
def test_padding_behind_a_window_enters_no_statistics_of_a_batch_norm(text: Path, packing: str) -> None:
    job = prepared(text, model={"block": {"norm": "batch"}, "dropout": 0.0}, data={"packing": packing})
    rows = next(batch for batch in job.work().batches(0, 0) if not batch.real.all())
    other = replace(rows, ids=rows.ids.masked_fill(~rows.real, 7))
    model = job.model.train()
    again = copy.deepcopy(model)
    total, _ = language_model_loss(model, rows, plain_loss())
    changed, _ = language_model_loss(again, other, plain_loss())
    torch.testing.assert_close(changed, total)
    buffers = dict(again.named_buffers())
    assert any("running_mean" in name and tensor.any() for name, tensor in buffers.items())
    for name, tensor in model.named_buffers():
        torch.testing.assert_close(buffers[name], tensor)


def test_the_loss_is_the_plain_one(text: Path) -> None:
    assert plain_loss().label_smoothing == 0.0
    job = prepared(text)
    batch = next(iter(job.work().batches(0, 0)))
    assert isinstance(job.state.model, GPT)
    job.model.eval()
    total, count = job.work().loss_of(batch)
    logits = job.model(batch.ids)
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.targets.flatten(), ignore_index=NO_TARGET, reduction="sum"
    )
    assert count == batch.target_count
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-4)
