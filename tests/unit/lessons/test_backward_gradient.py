"""The lesson on the argument of backward is red for a backward that does not multiply by the Jacobian."""

from typing import Any

import pytest
from torch import Tensor

from clearhead.lessons import backward_gradient
from clearhead.nn import dropout
from tests.lessons import failing


def test_a_dropout_that_forgets_its_mask_on_the_way_back_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None

    monkeypatch.setattr(dropout._MaskedScale, "backward", staticmethod(backward))
    assert failing("backward-gradient") == {"layers"}


def test_a_gradient_that_is_not_handed_on_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    gradient = backward_gradient.gradient

    def of_ones(function: Any, x: Tensor, vector: Tensor | None = None) -> Tensor:
        return gradient(function, x, None if vector is None else vector.new_ones(vector.shape))

    monkeypatch.setattr(backward_gradient, "gradient", of_ones)
    assert failing("backward-gradient") == {"product", "layers", "row", "weighted", "halves"}
