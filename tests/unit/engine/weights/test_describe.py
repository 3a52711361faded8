"""What the native engine covers, in one line where it does not; all the rest is in the parity tests of rows."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from clearhead.engine.weights.describe import covered, described
from clearhead.models.gpt import GPT
from clearhead.nn.layer import BlockConfig
from clearhead.nn.position import PositionName, RotaryScalingConfig
from tests.small import small, small_gpt, small_rnn


class Mine(nn.Linear):
    """A linear layer that may compute anything."""


def test_models_of_known_parts_are_covered() -> None:
    blocks = [{"norm": "rms", "activation": "softmax"}, {"activation": "geglu", "mlp": False}, {"attention": "qk_norm"}]
    for block in blocks:
        assert covered(small(block=BlockConfig(**block))) == ""
    for position in get_args(PositionName):
        assert covered(small_gpt(position=position)) == ""


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ({"norm": "batch"}, "BatchNorm"),
        ({"norm": "instance"}, "InstanceNorm"),
        ({"norm": "group", "norm_groups": 2}, "GroupNorm"),
        ({"attention": "additive"}, "Additive"),
    ],
)
def test_other_parts_are_named(block: dict[str, str], why: str) -> None:
    assert covered(small(block=BlockConfig(**block))) == f"{why} is computed by PyTorch"


def test_other_models_weights_and_modes_are_named() -> None:
    assert covered(small_rnn()) == "a RNNLanguageModel computes by PyTorch"
    assert covered(small().train()) == "a model in training mode computes by PyTorch"
    assert covered(small().double()) == "weights of float64 on cpu compute by PyTorch"
    assert covered(small().to("meta")) == "weights of float32 on meta compute by PyTorch"
    scaling = RotaryScalingConfig(kind="dynamic", original_max_seq_len=8)
    assert covered(small_gpt(position="rotary", rotary_scaling=scaling)) == "DynamicRotary is computed by PyTorch"


def test_modules_of_ones_own_are_left_to_pytorch() -> None:
    model = small()
    model.decoder.layers[1].attn.q_proj = Mine(16, 16)
    assert covered(model) == "Mine is computed by PyTorch"
    assert covered(type("MyGPT", (GPT,), {})(small_gpt().config, vocab_size=13).eval()) == "a MyGPT computes by PyTorch"


def test_weights_are_shared_where_they_stand_alone() -> None:
    model = small(tie="none")
    parts = described(model)
    assert isinstance(parts.lm_head.weight, np.ndarray)
    assert parts.lm_head.weight.ctypes.data == model.lm_head.weight.data_ptr()
    assert {"src_table", "tgt_table"} < set(parts.tables)
    assert not set(described(small(tie="all")).tables) & {"src_table", "tgt_table"}
    assert torch.equal(
        torch.from_numpy(described(small(position="alibi")).tables["left"]), 2.0 ** -torch.arange(2, 9, 2.0)
    )
