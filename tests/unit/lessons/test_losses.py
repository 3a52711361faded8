"""The lesson on losses is red for a smoothing that does not reach the gradient, and for batches that are averaged."""

from typing import Any

import pytest
from torch import Tensor

from clearhead import loss
from clearhead.lessons import losses
from tests.lessons import failing


def test_a_wrong_target_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = loss._chunk

    def unsmoothed(logits: Tensor, labels: Tensor, config: loss.LossConfig) -> Any:
        return chunk(logits, labels, loss.LossConfig(label_smoothing=0.0))

    monkeypatch.setattr(loss, "_chunk", unsmoothed)
    assert failing("losses") == {"by_hand"}


def test_a_loss_without_smoothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(logits: Tensor, targets: Tensor, *, label_smoothing: float) -> tuple[Tensor, int]:
        return loss.cross_entropy(logits, targets)

    monkeypatch.setattr(losses, "cross_entropy", plain)
    assert failing("losses") == {"smoothed"}


def test_a_mean_of_means_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def mean(*args: Any, **settings: Any) -> tuple[Tensor, int]:
        total, count = loss.linear_cross_entropy(*args, **settings)
        return total / count, 1

    monkeypatch.setattr(losses, "linear_cross_entropy", mean)
    assert failing("losses") == {"one"}
