"""The lesson on the cache is red for one that forgets a position or its content, and for copies in place of views."""

from typing import Any

import pytest
import torch
from torch import Tensor

from clearhead.nn.cache import KVCache, LayerCache
from tests.lessons import failing

right = LayerCache.append


def test_a_cache_that_forgets_the_first_position_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(self: LayerCache, keys: Tensor, values: Tensor) -> Any:
        first = min(self.length, 1)
        return tuple(part[:, :, first:] for part in right(self, keys, values))

    monkeypatch.setattr(LayerCache, "append", short)
    assert failing("kv-cache") == {"both", "same"}


def test_copies_are_not_views(monkeypatch: pytest.MonkeyPatch) -> None:
    def copying(self: LayerCache, keys: Tensor, values: Tensor) -> Any:
        return tuple(part.clone() for part in right(self, keys, values))

    monkeypatch.setattr(LayerCache, "append", copying)
    assert failing("kv-cache") == {"view"}


def test_a_cache_that_grows_without_its_content_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def reserve(self: KVCache, new: int) -> None:
        if self.length + new > self.buffer.shape[4]:
            layers, two, rows, heads, capacity, head_dim = self.buffer.shape
            self.buffer = torch.zeros(layers, two, rows, heads, 2 * capacity, head_dim)

    monkeypatch.setattr(KVCache, "reserve", reserve)
    assert failing("kv-cache") == {"same"}
