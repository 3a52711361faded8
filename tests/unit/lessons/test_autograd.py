"""The lesson on autograd is red for a network that cuts its graph, and for one that holds what should be freed."""

import pytest
from torch import Tensor

from clearhead.nn.mlp import MLP
from tests.lessons import failing


def test_a_graph_that_is_cut_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(self: MLP, x: Tensor) -> Tensor:
        return self.down_proj(self.activation(self.up_proj(x)).detach())

    monkeypatch.setattr(MLP, "forward", cut)
    assert failing("autograd") == {"graph"}


def test_activations_that_are_held_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    held = []
    forward = MLP.forward

    def holding(self: MLP, x: Tensor) -> Tensor:
        held.append(forward(self, x))
        return held[-1]

    monkeypatch.setattr(MLP, "forward", holding)
    assert failing("autograd") == {"freed"}


def test_a_layer_that_computes_something_else_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient by hand is that of ``output``, the last layer without what an MLP may do before it."""
    from torch import nn

    forward = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: forward(self, 2 * x))
    assert failing("autograd") == {"retained"}
