"""Activations: each is the function of its name."""

import math
from typing import get_args

import pytest
import torch

from clearhead.nn.activation import ActivationName, Elementwise, Gated, build_activation, is_gated

FORMULAS = {
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "tanh": lambda x: (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1),
    "softmax": lambda x: torch.exp(x) / torch.exp(x).sum(-1, keepdim=True),
}
GATE_OF = {"glu": "sigmoid", "reglu": "relu", "geglu": "gelu", "swiglu": "silu"}


@pytest.mark.parametrize("name", get_args(ActivationName))
def test_formula(name: ActivationName) -> None:
    x = torch.linspace(-4, 4, 41, dtype=torch.float64).view(1, -1)
    expected = FORMULAS[GATE_OF.get(name, name)](x)
    torch.testing.assert_close(build_activation(name)(x), expected)


def test_names_are_complete_and_the_gated_ones_known() -> None:
    assert set(get_args(ActivationName)) == {*get_args(Elementwise), *get_args(Gated)}
    assert {name for name in get_args(ActivationName) if is_gated(name)} == set(GATE_OF) == set(get_args(Gated))


def test_gelu_by_tanh_has_the_gradient_of_torchs_own() -> None:
    x = torch.cat([torch.linspace(-6, 6, 200), torch.tensor([-1e4, -30.0, 0.0, 30.0, 1e4])])
    grads, values = [], []
    for function in (build_activation("gelu_tanh"), torch.nn.GELU(approximate="tanh")):
        own = x.clone().requires_grad_()
        values.append(function(own))
        grads.append(torch.autograd.grad((values[-1] * torch.arange(len(x))).sum(), own)[0])
    torch.testing.assert_close(values[0], values[1], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-5, atol=2e-4)
    double = torch.linspace(-4, 4, 41, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(build_activation("gelu_tanh"), (double,))
    with torch.inference_mode():
        torch.testing.assert_close(build_activation("gelu_tanh")(x), values[1].detach(), rtol=1e-6, atol=1e-6)
