"""What a BERT's pretraining is made of: recipe, and a loss that is the same in whatever batches the rows come."""

import copy
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from clearhead.config import as_tree, merge
from clearhead.data.masked import MaskedBatch
from clearhead.errors import DataError, UsageError
from clearhead.loss import plain_loss
from clearhead.models.bert import BertPretraining
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.masked.job import MaskedJob
from clearhead.tasks.masked.recipe import masked_loss, nsp_targets, parse_masked
from clearhead.training.precision import Precision
from clearhead.training.step import train_step
from tests.small import shake
from tests.toy import MASKED


@pytest.fixture(scope="module")
def job(toy_masked_run: Path) -> MaskedJob:
    return prepare_job(MASKED, "here", toy_masked_run.parent / "data")


@pytest.fixture(scope="module")
def batch(job: MaskedJob) -> MaskedBatch:
    return next(iter(job.work().batches(0, 0)))


def shaken(job: MaskedJob) -> BertPretraining:
    model = shake(copy.deepcopy(job.model))
    assert isinstance(model, BertPretraining)
    return model


def rows(batch: MaskedBatch, first: int, last: int) -> MaskedBatch:
    """Some rows of a batch as a batch of their own, as wide as the longest of them."""
    assert batch.next_labels is not None
    width, taken = batch.ids.shape[1], slice(first, last)
    longest = int(batch.mask[taken].sum(dim=1).max())
    here = (batch.positions >= first * width) & (batch.positions < last * width)
    row, column = (batch.positions[here] - first * width) // width, batch.positions[here] % width
    cut = {name: getattr(batch, name)[taken, :longest] for name in ("ids", "segments", "mask")}
    return MaskedBatch(
        **cut,
        positions=row * longest + column,
        targets=batch.targets[here],
        next_labels=batch.next_labels[taken],
        target_count=int(here.sum()),
    )


def test_the_loss_is_two_means(job: MaskedJob, batch: MaskedBatch) -> None:
    """Of masked pieces, and of pairs, each of which counts as often as it has masked pieces."""
    model = shaken(job).eval()
    total, count = masked_loss(model, batch, plain_loss())
    at = torch.zeros_like(batch.mask).flatten().index_fill_(0, batch.positions, value=True).view_as(batch.mask)
    logits = model(batch.ids, mask=batch.mask, segments=batch.segments, at=at)
    assert logits.nsp is not None
    assert batch.next_labels is not None
    assert count == batch.target_count == len(batch.targets)
    mlm = functional.cross_entropy(logits.mlm, batch.targets)
    nsp = functional.cross_entropy(logits.nsp, 1 - batch.next_labels, reduction="none")
    weights = at.sum(dim=1) / count
    torch.testing.assert_close(total / count, mlm + (weights * nsp).sum(), rtol=1e-5, atol=0)
    assert float(weights.sum()) == pytest.approx(1)
    assert float((weights * len(weights)).max()) < 2.5, "a row of like length counts about as much as any other"


def test_the_right_column_is_the_first_where_b_follows(job: MaskedJob, batch: MaskedBatch) -> None:
    assert batch.next_labels is not None
    assert nsp_targets(batch).tolist() == [0 if follows else 1 for follows in batch.next_labels.tolist()]
    model = shaken(job).eval()
    assert model.nsp_head is not None
    model.nsp_head.out_proj.bias.data = torch.tensor([50.0, -50.0])  # sure that everything follows
    one, other = (replace(batch, next_labels=torch.full_like(batch.next_labels, label)) for label in (1, 0))
    right, wrong = (masked_loss(model, labelled, plain_loss())[0].item() for labelled in (one, other))
    assert wrong - right == pytest.approx(100 * batch.target_count, rel=0.1)


def test_micro_batches_of_any_sizes_are_one_batch(job: MaskedJob, batch: MaskedBatch) -> None:
    count = len(batch.ids)
    assert count > 6
    results = []
    for borders in ([0, count], [0, 1, 3, count], [0, count // 2, count]):
        parts = [rows(batch, first, last) for first, last in pairwise(borders)]
        model = shaken(job)
        torch.manual_seed(0)
        optimizers = build_optimizers(model, OptimConfig(name="sgd", momentum=0.0), 1.0)
        loss_of = partial(masked_loss, model, config=plain_loss())
        step = train_step(model, parts, loss_of, optimizers, grad_clip_norm=0.0)
        results.append((step, torch.cat([parameter.detach().flatten() for parameter in model.parameters()])))
    (whole, weights), *others = results
    for step, moved in others:
        assert step == pytest.approx(whole, rel=1e-5)
        torch.testing.assert_close(moved, weights, rtol=1e-4, atol=2e-6)


def test_without_pairs_there_is_neither_head_nor_pooler(toy_masked_run: Path) -> None:
    data = toy_masked_run.parent / "data"
    job = prepare_job(merge(MASKED, {"masked": {"next_sentence": False}}), "here", data)
    batch = next(iter(job.work().batches(0, 0)))
    assert (job.model.nsp_head, batch.next_labels) == (None, None)
    total, count = masked_loss(job.model.eval(), batch, plain_loss())
    assert float(total.detach()) / count == pytest.approx(5.9, abs=0.5), "about log 400"
    assert not any("pooler" in name for name, _ in job.model.named_parameters())


def test_bfloat16_is_the_same_loss_to_its_digits(job: MaskedJob, batch: MaskedBatch) -> None:
    model = shaken(job).eval()
    exact = masked_loss(model, batch, plain_loss())[0]
    with Precision("bfloat16").autocast():
        rounded = masked_loss(model, batch, plain_loss())[0]
    assert rounded.dtype == torch.float32
    assert float(rounded.detach()) != float(exact.detach())
    assert float(rounded.detach()) == pytest.approx(float(exact.detach()), rel=0.02)


def test_the_vocabulary_has_its_marks_whatever_the_recipe_says(job: MaskedJob) -> None:
    assert parse_masked({"tokenizer": {"kind": "char"}}, "here").tokenizer.specials == "masked"
    assert job.parts.tokenizer.pieces([4, 5, 6]) == ["[CLS]", "[SEP]", "[MASK]"]
    assert as_tree(job.recipe)["tokenizer"]["specials"] == "masked"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"train": {"batch_tokens": 47}}, "train.batch_tokens = 47: must be at least model.max_seq_len = 48, one row"),
        (
            {"validation": {"monitor": "accuracy"}},
            "validation.monitor = 'accuracy': must be one of loss",
        ),
        ({"tokenizer": {"specials": "sequence"}}, "tokenizer.specials = 'sequence': must be 'masked'"),
        ({"tokenizer": {"dropout": 0.1}}, "tokenizer.dropout = 0.1: text is encoded once"),
        ({"data": {"packing": "isolated"}}, "data.packing = 'isolated': rows of sentences are not packed"),
        ({"model": {"n_segments": 1}}, "model.n_segments = 1: must be at least 2 with masked.next_sentence"),
        ({"masked": {"mask_fracton": 0.2}}, "unknown key 'masked.mask_fracton'; did you mean 'mask_fraction'"),
    ],
)
def test_recipes_that_do_not_fit_together(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected) as caught:
        parse_masked(merge(MASKED, change), "here")
    assert "\n" not in str(caught.value)


def test_one_document_has_no_random_next_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("He eats. She reads.\n" * 9)
    with pytest.raises(DataError, match="one document, but a random next sentence comes from another"):
        prepare_job(merge(MASKED, {"data": {"separator": "file"}}), "here", tmp_path / "text.txt")
