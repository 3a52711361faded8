"""Bytes that are really moved: those of the formula, more where a kernel reads twice or the cache grows."""

import pytest
import torch

from clearhead.decode.decoding import CachedDecoding
from clearhead.inspect.traffic import CacheTraffic, distinct_bytes
from clearhead.nn.cache import KVCache
from tests.small import small


def cached(kv_heads: int, capacity: int = 32) -> CachedDecoding:
    with torch.inference_mode():
        return CachedDecoding(small(n_kv_heads=kv_heads), torch.tensor([[5, 9, 4, 7, 2]]), None, capacity=capacity)


@pytest.mark.parametrize("watched", [False, True], ids=["fused", "explicit"])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_measured_is_the_formula_with_either_kernel(kv_heads: int, watched: bool) -> None:
    decoding = cached(kv_heads)
    if watched:
        for layer in decoding.model.decoder.layers:
            layer.attn.core.tap.register_forward_hook(lambda *seen: None)
    for piece in (3, 4, 5):
        with torch.inference_mode(), CacheTraffic(decoding.cache) as traffic:
            decoding.advance(torch.tensor([piece]))
        assert (traffic.read, traffic.written) == (decoding.cache.bytes_read(), decoding.cache.bytes_written())
        assert traffic.copied == 0


def test_what_a_growing_cache_copies_is_told_apart() -> None:
    decoding = cached(2, capacity=2)
    copied = []
    for piece in (3, 4, 5, 6):
        with torch.inference_mode(), CacheTraffic(decoding.cache) as traffic:
            decoding.advance(torch.tensor([piece]))
        assert traffic.read == decoding.cache.bytes_read()
        copied.append(traffic.copied)
    assert copied == [0, 0, 2 * decoding.cache.bytes_written(), 0]


def test_a_kernel_that_reads_twice_is_not_the_formula() -> None:
    cache = KVCache(n_layers=1, rows=1, kv_heads=1, head_dim=4, capacity=3, like=torch.zeros(1))
    with CacheTraffic(cache) as traffic:
        keys, _ = cache.layers[0].append(torch.ones(1, 1, 2, 4), torch.ones(1, 1, 2, 4))
        cache.advance(2)
        assert float((keys + keys).sum()) == 16  # two arguments, both read
        keys.view(-1)
    assert (traffic.read, traffic.written) == (2 * 32, 2 * 32)


def test_what_is_broadcast_counts_once() -> None:
    assert distinct_bytes(torch.zeros(3, 1, 4).expand(3, 5, 4)) == 48
    assert distinct_bytes(torch.zeros(0, 4)) == 0
