"""The lesson on writes in place is red for a layer that overwrites what was saved, and where no write is counted."""

import pytest
from torch import Tensor

from clearhead.inspect import graph
from clearhead.nn.residual import Residual
from tests.lessons import failing


def test_a_layer_that_overwrites_what_its_norm_saved_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Residual, x: Tensor, branch: Tensor) -> Tensor:
        return x + branch if x.is_leaf else x.add_(branch)

    monkeypatch.setattr(Residual, "forward", forward)
    assert failing("inplace") == {"harmless"}


def test_a_view_that_does_not_count_writes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_version", lambda tensor: 0)
    assert failing("inplace") == {"lines"}
