"""The lesson on optimizers is red for a decay that is not decoupled, and for a Muon that is only momentum."""

import pytest
import torch
from torch import Tensor

from clearhead.optim import muon
from tests.lessons import failing


def test_a_coupled_decay_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim, "AdamW", torch.optim.Adam)
    assert failing("optimizers") == {"by_hand", "decoupled"}


def test_a_muon_that_is_only_momentum_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def divided(matrix: Tensor) -> Tensor:
        return matrix / matrix.norm()

    monkeypatch.setattr(muon, "orthogonalize", divided)
    assert failing("optimizers") == {"by_hand", "muon"}
