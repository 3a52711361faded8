"""The wiring of a translation run: recipe, vocabularies, loss on real positions, seeds."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.config import merge
from clearhead.data.corpus import read_parallel
from clearhead.data.translation import Batch, collate
from clearhead.errors import UsageError
from clearhead.loss import LossConfig, cross_entropy
from clearhead.nn.layer import BlockConfig
from clearhead.tasks import translation
from clearhead.tasks.training import prepare_new
from clearhead.tasks.translation import (
    Prepared,
    Tokenizers,
    batch_loss,
    mean_loss,
    parse_recipe,
    train_tokenizers,
    work_of,
)
from clearhead.text.tokenizer import TokenizerConfig
from tests.small import random_rows, small
from tests.toy import HELD_OUT, PAIRS, RECIPE

SRC, TGT = random_rows([4, 9, 2, 6, 1], seed=1), random_rows([8, 2, 5, 1, 9], seed=2)


def prepared(data: Path, **train: Any) -> Prepared:
    return prepare_new(merge(RECIPE, {"train": train}), data, progress=lambda done, total: None, source="here")


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_the_loss_is_the_plain_one_over_real_targets(norm: Any) -> None:
    model, batch = small(block=BlockConfig(norm=norm)), collate(SRC, TGT)
    config = LossConfig(label_smoothing=0.1, z_loss=0.01, chunk_size=7)
    total, count = batch_loss(model, batch, config)
    real = batch.targets.ne(0)
    logits = model(batch.src_ids, batch.tgt_ids, src_mask=batch.src_mask, tgt_mask=real)[real]
    expected, rows = cross_entropy(logits, batch.targets[real], label_smoothing=0.1, z_loss=0.01)
    assert count == rows == batch.target_count
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-5)


def test_the_loss_of_a_batch_is_the_sum_over_its_parts() -> None:
    model = small()
    whole, _ = batch_loss(model, collate(SRC, TGT), LossConfig())
    parts = [batch_loss(model, collate([src], [tgt]), LossConfig())[0] for src, tgt in zip(SRC, TGT, strict=True)]
    torch.testing.assert_close(sum(parts), whole, rtol=1e-5, atol=1e-5)


def test_the_seed_decides_on_weights_and_order(toy_data: Path) -> None:
    one, same, other = (prepared(toy_data, seed=seed) for seed in (1, 1, 2))
    weights = [next(iter(run.state.model.parameters())) for run in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    orders = [
        [batch.indices.tolist() for batch in work_of(run, lambda model: {}).batches(epoch, 0)]
        for run, epoch in ((one, 0), (same, 0), (other, 0), (one, 1))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != orders[3]
    assert [batch.indices.tolist() for batch in work_of(one, lambda model: {}).batches(0, 1)] == orders[0][1:]
    assert sorted(row for rows in orders[0] for row in rows) == list(range(PAIRS))


def test_pieces_are_drawn_anew_in_training_where_the_recipe_says_so(toy_data: Path) -> None:
    tree = merge(RECIPE, {"tokenizer": {"dropout": 0.5}})
    run = prepare_new(tree, toy_data, progress=lambda done, total: None, source="here")
    drawn = [
        {i: ids for batch in work_of(run, lambda model: {}).batches(epoch, 0) for i, ids in by_pair(batch)}
        for epoch in (0, 0, 1)
    ]
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
    assert (len(run.train), len(run.valid)) == (PAIRS, 2 * HELD_OUT)


def test_evaluation_is_the_mean_whatever_the_batches(toy_data: Path) -> None:
    run = prepared(toy_data)
    model, device = run.state.model.eval(), torch.device("cpu")
    with torch.inference_mode():
        losses = [mean_loss(model, run.valid, batch_tokens=size, device=device) for size in (1, 100, 9999)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    work = work_of(run, lambda model: {"bleu": 7.0})
    with torch.inference_mode():
        assert work.evaluate(model) == {"loss": pytest.approx(losses[0], rel=1e-5), "bleu": 7.0}


@pytest.mark.parametrize("joint", [True, False])
def test_tokenizers_come_back_joint_or_apart(
    joint: bool, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation, "TOKENIZER_LINES", PAIRS // 2)  # every second line
    files = read_parallel(toy_data, stem="train", src="zh", tgt="en")
    made = train_tokenizers(files, PAIRS, TokenizerConfig(vocab_size=400, joint=joint))
    made.save(tmp_path)
    found = Tokenizers.load(tmp_path)
    assert (found.src is found.tgt) is (made.src is made.tgt) is joint
    for ours, theirs in ((made.src, found.src), (made.tgt, found.tgt)):
        assert ours.encode("我吃 an apple") == theirs.encode("我吃 an apple")
    assert (len(made.tgt.encode("the")) < len(made.src.encode("the"))) is not joint


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"src": ""}, "the languages are not set; add --src zh --tgt en"),
        ({"data": {"max_len": 64}}, "data.max_len = 64: must be below model.max_seq_len = 64"),
        ({"tokenizer": {"joint": False}}, "model.tie = 'all': needs tokenizer.joint = true"),
        ({"task": "gpt"}, "task = 'gpt': must be one of translation"),
    ],
)
def test_recipes_that_do_not_fit_together(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=f"^here: {expected}"):
        parse_recipe(merge(RECIPE, change), "here")
