"""The lesson on masks is red for a layer that is not causal, for padding that is seen, and for rows without a key."""

import pytest
import torch
from torch import Tensor

from clearhead.models import gpt, transformer
from clearhead.nn.layer import CausalLayer
from clearhead.nn.mask import causal_mask, padding_mask
from tests.lessons import failing


def test_a_layer_that_looks_ahead_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CausalLayer, "causal", False)
    assert failing("masks") == {"causal"}


def test_padding_that_is_seen_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "padding_mask", lambda real: padding_mask(torch.ones_like(real)))
    assert failing("masks") == {"padding"}


def test_a_row_without_a_key_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_itself(mask: Tensor) -> Tensor:
        return torch.zeros_like(mask)[:, None, None] | (causal_mask(*2 * mask.shape[1:]) & padding_mask(mask))

    monkeypatch.setattr(gpt, "causal_padding_mask", without_itself)
    assert failing("masks") == {"here"}
