"""What a translator is made of: recipe, vocabularies, loss on real positions."""

from typing import Any

import pytest
import torch

from clearhead.config import merge
from clearhead.data.translation import collate
from clearhead.errors import UsageError
from clearhead.loss import LossConfig, cross_entropy
from clearhead.nn.layer import BlockConfig
from clearhead.tasks.translation.recipe import parse_translation, translation_loss
from tests.small import random_rows, small
from tests.toy import RECIPE

SRC, TGT = random_rows([4, 9, 2, 6, 1], seed=1), random_rows([8, 2, 5, 1, 9], seed=2)


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_the_loss_is_the_plain_one_over_real_targets(norm: Any) -> None:
    model, batch = small(block=BlockConfig(norm=norm)), collate(SRC, TGT)
    config = LossConfig(label_smoothing=0.1, z_loss=0.01, chunk_size=7)
    total, count = translation_loss(model, batch, config)
    real = batch.targets.ne(0)
    logits = model(batch.src_ids, batch.tgt_ids, src_mask=batch.src_mask, tgt_mask=real)[real]
    expected, rows = cross_entropy(logits, batch.targets[real], label_smoothing=0.1, z_loss=0.01)
    assert count == rows == batch.target_count
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-5)


def test_the_loss_of_a_batch_is_the_sum_over_its_parts() -> None:
    model = small()
    whole, _ = translation_loss(model, collate(SRC, TGT), LossConfig())
    parts = [translation_loss(model, collate([src], [tgt]), LossConfig())[0] for src, tgt in zip(SRC, TGT, strict=True)]
    torch.testing.assert_close(sum(parts), whole, rtol=1e-5, atol=1e-5)


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
        parse_translation(merge(RECIPE, change), "here")
