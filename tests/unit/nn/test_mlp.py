"""The feed-forward network, plain and gated: formula, dropout after the activation, position by position."""

from typing import get_args

import pytest
import torch

from clearhead.nn.activation import ActivationName, build_activation
from clearhead.nn.mlp import MLP, GatedMLP, build_mlp


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", get_args(ActivationName))
def test_formula(name: ActivationName, bias: bool) -> None:
    torch.manual_seed(0)
    mlp, x, act = build_mlp(name, 6, 10, bias=bias), torch.randn(2, 3, 6), build_activation(name)
    if name in ("glu", "reglu", "geglu", "swiglu"):
        assert isinstance(mlp, GatedMLP)
        inner = act(mlp.gate_proj(x)) * mlp.up_proj(x)
    else:
        assert isinstance(mlp, MLP)
        inner = act(mlp.up_proj(x))
    torch.testing.assert_close(mlp(x), mlp.down_proj(inner))
    assert (mlp.down_proj.bias is not None) is bias is (mlp.up_proj.bias is not None)
    torch.testing.assert_close(mlp(x)[:, 1:2], mlp(x[:, 1:2]))  # positions are independent


@pytest.mark.parametrize("name", ["relu", "swiglu"])
def test_dropout_stands_between_activation_and_down_projection(name: ActivationName) -> None:
    mlp = build_mlp(name, 4, 8, dropout=0.5)
    torch.nn.init.zeros_(mlp.down_proj.bias)
    seen = []
    mlp.down_proj.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x = torch.randn(4, 64, 4)
    mlp(x)
    mlp.eval()(x)
    kept = seen[0] != 0
    torch.testing.assert_close(seen[0][kept], 2 * seen[1][kept])
    assert 0.4 < kept[seen[1] != 0].float().mean() < 0.6
