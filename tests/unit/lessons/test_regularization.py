"""The lesson on regularization is red for remedies that do nothing: each mutation takes one of them away."""

from typing import Any

import pytest
from torch import Tensor

from clearhead.lessons import regularization
from clearhead.nn.dropout import Dropout
from clearhead.nn.residual import Residual
from clearhead.text.bpe_dropout import BpeDropout
from tests.lessons import failing


@pytest.mark.unchecked
def test_a_decay_that_is_not_applied_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    build = regularization.build_optimizers

    def without(model: Any, config: Any, lr: float) -> Any:
        return build(model, type(config)(), lr)

    monkeypatch.setattr(regularization, "build_optimizers", without)
    assert failing("regularization") == {"decay"}


@pytest.mark.unchecked
def test_a_dropout_and_a_depth_that_drop_nothing_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(self: Residual, x: Tensor, branch: Tensor) -> Tensor:
        return x + branch

    monkeypatch.setattr(Dropout, "forward", lambda self, x: x)
    monkeypatch.setattr(Residual, "forward", whole)
    assert "slow" in failing("regularization")


@pytest.mark.unchecked
def test_merges_that_are_never_left_out_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = BpeDropout.__init__

    def without(self: BpeDropout, ids: Any, merges: Any, *, p: float, unk: int) -> None:
        made(self, ids, merges, p=0.0, unk=unk)

    monkeypatch.setattr(BpeDropout, "__init__", without)
    assert failing("regularization") == {"bpe_dropout"}
