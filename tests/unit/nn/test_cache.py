"""The K-V cache: it returns what was stored; growing, reordering and dropping rows keep each row's history."""

import pytest
import torch
from torch import Tensor

from clearhead.nn.cache import KVCache

LAYERS, HEADS, DIM = 2, 3, 4


def filled(rows: int = 4, steps: int = 3, capacity: int = 4) -> tuple[KVCache, Tensor]:
    """Returns a cache after ``steps`` pieces and all that was stored in it: [layer, kv, row, head, step, dim]."""
    cache = KVCache(n_layers=LAYERS, rows=rows, kv_heads=HEADS, head_dim=DIM, capacity=capacity, like=torch.zeros(1))
    stored = torch.randn(LAYERS, 2, rows, HEADS, steps, DIM)
    for step in range(steps):
        cache.reserve(1)
        for layer, part in zip(cache.layers, stored[..., step : step + 1, :], strict=True):
            keys, values = layer.append(part[0], part[1])
            assert torch.equal(torch.stack([keys, values]), stored[layer.index, ..., : step + 1, :])
        cache.advance(1)
    return cache, stored


def content(cache: KVCache) -> Tensor:
    return cache.buffer[..., : cache.length, :]


@pytest.mark.parametrize("capacity", [1, 3, 8])
def test_append_returns_everything_so_far_whatever_the_capacity(capacity: int) -> None:
    cache, stored = filled(steps=7, capacity=capacity)
    assert cache.length == 7
    assert torch.equal(content(cache), stored)


def test_several_pieces_at_once() -> None:
    cache, stored = filled()
    more = torch.randn(2, 4, HEADS, 5, DIM)
    cache.reserve(5)
    keys, values = cache.layers[1].append(more[0], more[1])
    assert torch.equal(keys, torch.cat([stored[1, 0], more[0]], dim=2))
    assert torch.equal(values, torch.cat([stored[1, 1], more[1]], dim=2))
    assert cache.layers[0].length == 3  # it moves with ``advance`` only, once all layers have appended


def test_reserve_doubles_and_does_nothing_where_there_is_room() -> None:
    cache, _ = filled(steps=4, capacity=4)
    before = cache.buffer
    cache.reserve(0)
    assert cache.buffer is before
    cache.reserve(1)
    assert cache.buffer.shape[4] == 8
    cache.reserve(30)
    assert cache.buffer.shape[4] == 34


def test_reorder_again_and_again() -> None:
    cache, stored = filled()
    for rows in ([1, 0, 3, 3], [2, 2, 0, 1], [0, 1, 2, 3]):
        cache.reorder(torch.tensor(rows))
        stored = stored[:, :, rows]
        assert torch.equal(content(cache), stored)
    cache.reserve(20)
    cache.reorder(torch.tensor([3, 2, 1, 0]))
    assert torch.equal(content(cache), stored[:, :, [3, 2, 1, 0]])


def test_finished_sentences_leave_with_their_rows() -> None:
    cache, stored = filled(rows=6)
    memory = torch.randn(2, 3, HEADS, 5, DIM)
    cache.cross = [(memory[0], memory[1])] * LAYERS
    cache.keep(torch.tensor([0, 2]), torch.tensor([0, 1, 4, 5]))
    assert torch.equal(content(cache), stored[:, :, [0, 1, 4, 5]])
    assert len(cache.cross) == LAYERS
    assert all(torch.equal(torch.stack(pair), memory[:, [0, 2]]) for pair in cache.cross)
    cache.reorder(torch.tensor([1, 0, 2, 2]))
    assert torch.equal(content(cache), stored[:, :, [1, 0, 4, 4]])


def test_dtype_follows_like_and_bytes_are_counted() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    cache = KVCache(n_layers=LAYERS, rows=5, kv_heads=HEADS, head_dim=DIM, capacity=9, like=like)
    assert cache.buffer.dtype == torch.float64
    assert (cache.bytes_read(), cache.bytes_written()) == (0, LAYERS * 2 * 5 * HEADS * DIM * 8)
    cache.advance(3)
    cache.cross = [(torch.zeros(1, HEADS, 7, DIM), torch.zeros(1, HEADS, 7, DIM))]
    assert cache.bytes_read() == 3 * cache.bytes_written() + 2 * HEADS * 7 * DIM * 4


def test_a_full_cache_refuses() -> None:
    cache, _ = filled(steps=2, capacity=2)
    with pytest.raises((ValueError, RuntimeError)):
        cache.layers[0].append(torch.ones(4, HEADS, 1, DIM), torch.ones(4, HEADS, 1, DIM))
