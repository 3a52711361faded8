"""The lesson on accumulation is red for a mean of means, for gradients that are kept, and for zeros."""

from typing import Any

import pytest
from torch import Tensor

from clearhead.lessons import accumulate
from clearhead.loss import squared_error
from clearhead.optim.build import Optimizers
from tests.lessons import failing


def test_a_mean_of_means_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def mean(*args: Any) -> tuple[Tensor, int]:
        total, count = squared_error(*args)
        return total / count, 1

    monkeypatch.setattr(accumulate, "squared_error", mean)
    assert failing("accumulate") == {"same"}


def test_gradients_that_are_kept_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Optimizers, "zero_grad", lambda self: None)
    assert "none" in failing("accumulate")


def test_zeros_in_place_of_none_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(self: Optimizers) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=False)

    monkeypatch.setattr(Optimizers, "zero_grad", zeros)
    assert failing("accumulate") == {"none"}
