"""The lesson on γ and β is red if forward changes them, if a gradient is wrong, and if vectors have weight decay."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clearhead.lessons import gamma_beta
from clearhead.nn.norm import BatchNorm
from tests.lessons import failing


def test_a_forward_that_trains_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = BatchNorm.forward

    def training(self: BatchNorm, x: Tensor, mask: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            self.weight.mul_(0.99)
        return forward(self, x, mask)

    monkeypatch.setattr(BatchNorm, "forward", training)
    assert {"forward", "step"} <= failing("gamma-beta") <= {"forward", "backward", "step", "together"}


def test_half_a_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = BatchNorm.forward

    def half(self: BatchNorm, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = forward(self, x, mask)
        return y if self.bias is None else y - 0.5 * (self.bias - self.bias.detach())

    monkeypatch.setattr(BatchNorm, "forward", half)
    assert failing("gamma-beta") == {"backward"}


def test_decay_of_vectors_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def everything(model: nn.Module, weight_decay: float, *, lr: float) -> Any:
        names = {parameter: name for name, parameter in model.named_parameters()}
        return [{"params": list(names), "weight_decay": weight_decay, "lr": lr}], names

    monkeypatch.setattr(gamma_beta, "parameter_groups", everything)
    assert failing("gamma-beta") == {"decay"}
