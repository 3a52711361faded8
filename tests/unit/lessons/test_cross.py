"""The lesson on cross-attention is red if the source is projected at every step, or is masked as a target is."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clearhead.decode.decoding import CachedDecoding
from clearhead.nn.attention import CrossAttention
from tests.lessons import failing

advance, forward = CachedDecoding.advance, CrossAttention.forward


def test_a_source_that_is_projected_at_every_step_is_seen(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def anew(self: CachedDecoding, ids: Tensor) -> Tensor:
        memory = self.model.encoder(torch.full((1, self.cache.cross[0][0].shape[2]), 5))
        self.cache.cross = self.model.decoder.keys_values(memory)
        return advance(self, ids)

    monkeypatch.setattr(CachedDecoding, "advance", anew)
    assert failing("cross", trained=toy_run) == {"once", "same"}


def test_a_source_that_only_its_first_piece_is_seen_of(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def first(self: CrossAttention, x: Tensor, keys_values: Any, *, mask: Any = None) -> Tensor:
        order = torch.arange(keys_values[0].shape[2]) < 1
        return forward(self, x, keys_values, mask=order[None, None, None])

    monkeypatch.setattr(CrossAttention, "forward", first)
    assert failing("cross", trained=toy_run) == {"asks", "all"}
