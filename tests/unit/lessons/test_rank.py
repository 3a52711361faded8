"""The lesson on rank is red for layers whose skips are missing, and for switches that switch nothing off."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from torch import Tensor

from clearhead.inspect import ranks
from clearhead.nn.residual import Residual
from tests.lessons import failing


def test_layers_without_a_skip_collapse_as_they_are(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def branch_alone(self: Residual, x: Tensor, branch: Tensor) -> Tensor:
        return branch

    monkeypatch.setattr(Residual, "forward", branch_alone)
    assert failing("rank", trained=toy_run) == {"skip", "still", "trained"}


def test_parts_that_are_not_switched_off_are_seen(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "without", lambda model, off: nullcontext())
    assert failing("rank", trained=toy_run) == {"alone", "faster", "mlp", "still"}
