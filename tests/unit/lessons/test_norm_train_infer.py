"""The lesson on norms is red for a batch norm that keeps no statistics or reads padding, or a layer norm that does."""

import pytest
import torch
from torch import Tensor

from clearhead.nn.norm import BatchNorm, LayerNorm
from tests.lessons import failing


def test_statistics_that_stand_still_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    over_real = BatchNorm._over_real

    def still(self: BatchNorm, x: Tensor, mask: Tensor) -> Tensor:
        self.momentum = 0.0
        return over_real(self, x, mask)

    monkeypatch.setattr(BatchNorm, "_over_real", still)
    assert failing("norm-train-infer") == {"batch", "running"}


def test_statistics_over_padding_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    over_real = BatchNorm._over_real
    monkeypatch.setattr(BatchNorm, "_over_real", lambda self, x, mask: over_real(self, x, torch.ones_like(mask)))
    assert failing("norm-train-infer") == {"padding"}


def test_statistics_that_move_in_evaluation_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: BatchNorm, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self._over_real(x, x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask)

    monkeypatch.setattr(BatchNorm, "forward", forward)
    assert failing("norm-train-infer") == {"batch", "neighbours", "running", "alone"}


def test_a_layer_norm_over_the_batch_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: LayerNorm, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x - x.mean((0, 1)) if self.training else x

    monkeypatch.setattr(LayerNorm, "forward", forward)
    assert failing("norm-train-infer") == {"same", "neighbours", "padding"}
