"""The lesson on activations is red for a softmax over the wrong axis, a leaking ReLU, and a gate that is left out."""

import pytest
import torch
from torch import Tensor, nn

from clearhead.nn.mlp import GatedMLP
from tests.lessons import failing


def test_softmax_over_another_axis_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Softmax, "forward", lambda self, x: x.softmax(0))
    assert failing("activations") == {"softmax"}


def test_a_relu_that_leaks_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: nn.functional.leaky_relu(x, 0.1))
    assert failing("activations") == {"dead", "gates"}


def test_a_gate_that_is_left_out_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GatedMLP, "forward", lambda self, x: self.down_proj(self.activation(self.gate_proj(x))))
    assert failing("activations") == {"gates", "linear"}


def test_an_activation_that_looks_at_its_neighbours_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def centred(self: nn.Module, x: Tensor) -> Tensor:
        return torch.tanh(x - x.mean(-1, keepdim=True))

    monkeypatch.setattr(nn.Tanh, "forward", centred)
    assert "elementwise" in failing("activations") <= {"elementwise", "slopes"}
