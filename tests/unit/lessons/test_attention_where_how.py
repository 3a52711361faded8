"""The lesson on attention is red for scores that are not divided, a mask that leaks, and values from elsewhere."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clearhead.nn import attention
from tests.lessons import failing

NAME = "attention-where-how"


def test_scores_that_are_not_divided_are_not_those_by_hand(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Math:
        sqrt = staticmethod(lambda size: 1.0)

    monkeypatch.setattr(attention, "math", Math)
    assert failing(NAME, trained=toy_run) == {"hand"}


def test_a_causal_mask_that_lets_one_more_through_is_seen(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(n_queries: int, n_keys: int, device: torch.device | None = None) -> Tensor:
        return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries + 1)

    monkeypatch.setattr(attention, "causal_mask", leaking)
    assert failing(NAME, trained=toy_run) == {"decoder"}


def test_a_memory_that_is_not_the_encoders_is_seen(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = attention.CrossAttention.keys_values

    def of_other_memory(self: attention.CrossAttention, memory: Tensor) -> Any:
        return right(self, memory.roll(1, dims=1))

    monkeypatch.setattr(attention.CrossAttention, "keys_values", of_other_memory)
    assert failing(NAME, trained=toy_run) == {"hand", "cross"}
