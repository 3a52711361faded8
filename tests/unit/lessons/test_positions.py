"""The lesson on positions is red for a rotation that does not turn, and for slopes that are flat."""

from typing import Any

import pytest
import torch
from torch import Tensor

from clearhead.nn.position import Alibi, Rotary
from tests.lessons import failing


def test_a_rotation_that_does_not_turn_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def still(self: Rotary, x: Tensor, start: int = 0, positions: Any = None) -> Tensor:
        return x

    monkeypatch.setattr(Rotary, "forward", still)
    assert failing("positions") == {"order", "turn", "rotary"}


def test_a_penalty_that_does_not_grow_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(self: Alibi, n_queries: int, n_keys: int) -> Tensor:
        return torch.zeros(len(self.slopes), n_queries, n_keys)

    monkeypatch.setattr(Alibi, "forward", flat)
    assert failing("positions") == {"order", "alibi"}
