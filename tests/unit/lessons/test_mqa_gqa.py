"""The lesson on shared heads is red if queries take the wrong heads, or if the cache holds heads that are copies."""

from typing import Any

import pytest
from torch import Tensor

from clearhead.models.gpt import GPT
from clearhead.nn import attention
from clearhead.nn.cache import KVCache, LayerCache
from tests.lessons import failing


def test_heads_that_are_shared_in_the_wrong_order_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_turn(x: Tensor, n_heads: int) -> Tensor:
        return x.repeat(1, n_heads // x.shape[1], 1, 1)

    monkeypatch.setattr(attention, "_repeat_heads", in_turn)
    assert failing("mqa-gqa") == {"copies"}


def test_a_cache_of_copies_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    append = LayerCache.append

    def cache_of_all(self: GPT, rows: int, capacity: int = 64) -> KVCache:
        sizes = {"n_layers": self.config.n_layers, "rows": rows, "kv_heads": self.config.n_heads}
        head_dim, like = self.config.d_model // self.config.n_heads, self.embedding.tokens.weight
        return KVCache(**sizes, head_dim=head_dim, capacity=capacity, like=like)

    def append_copies(self: LayerCache, keys: Tensor, values: Tensor) -> Any:
        copies = self.parent.buffer.shape[3] // keys.shape[1]
        return append(self, *(part.repeat_interleave(copies, dim=1) for part in (keys, values)))

    monkeypatch.setattr(GPT, "new_cache", cache_of_all)
    monkeypatch.setattr(LayerCache, "append", append_copies)
    assert failing("mqa-gqa") == {"bytes"}
