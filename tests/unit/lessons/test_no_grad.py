"""The lesson on no_grad is red for layers that confuse it with eval."""

import pytest
import torch
from torch import Tensor

from clearhead.lessons import no_grad
from clearhead.nn.dropout import Dropout
from clearhead.nn.norm import BatchNorm, Mask
from tests.lessons import failing


def test_a_dropout_that_goes_by_gradients_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Dropout.forward

    def by_gradients(self: Dropout, x: Tensor) -> Tensor:
        self.training = torch.is_grad_enabled()
        return forward(self, x)

    monkeypatch.setattr(Dropout, "forward", by_gradients)
    assert failing("no-grad") == {"dropout", "same"}


def test_a_norm_that_goes_by_gradients_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = BatchNorm.forward

    def by_gradients(self: BatchNorm, x: Tensor, mask: Mask = None) -> Tensor:
        self.training = torch.is_grad_enabled()
        return forward(self, x, mask)

    monkeypatch.setattr(BatchNorm, "forward", by_gradients)
    assert {"norms", "same"} <= failing("no-grad")


def test_a_mode_that_records_nevertheless_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(no_grad, "gradients", lambda name: torch.set_grad_enabled("inference" not in name))
    assert failing("no-grad") == {"graph", "memory", "inference"}
