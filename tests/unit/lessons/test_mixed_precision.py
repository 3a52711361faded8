"""The lesson on mixed precision is red for norms in half precision, and for a loss that is not scaled."""

from typing import Any

import pytest
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from clearhead.nn.norm import LayerNorm
from clearhead.training import precision
from tests.lessons import failing


def test_a_norm_in_half_precision_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: LayerNorm, x: Tensor, mask: Any = None) -> Tensor:
        return x.bfloat16()

    monkeypatch.setattr(LayerNorm, "forward", half)
    assert failing("mixed-precision") == {"norms"}


def test_a_loss_that_is_not_scaled_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "GradScaler", lambda device, enabled: GradScaler(device, enabled=False))
    assert failing("mixed-precision") == {"scaled", "overflow"}
