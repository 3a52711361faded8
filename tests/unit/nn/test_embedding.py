"""Embedding: scale, positions, dropout on the sum, the longest sequence."""

import pytest
import torch

from clearhead.nn.embedding import Embedding
from clearhead.nn.position import sinusoidal_table

IDS = torch.tensor([[3, 1, 2], [4, 0, 0]])


@pytest.mark.parametrize("scale", [True, False])
def test_scaled_rows_plus_positions(scale: bool) -> None:
    embedding = Embedding(5, 16, pad_id=0, max_seq_len=8, scale=scale)
    rows = embedding.tokens.weight[IDS] * (4 if scale else 1)
    table = sinusoidal_table(8, 16)
    torch.testing.assert_close(embedding(IDS), rows + table[:3])
    torch.testing.assert_close(embedding(IDS, start=5), rows + table[5:8])
    positions = torch.tensor([[2, 0, 1], [7, 7, 7]])
    torch.testing.assert_close(embedding(IDS, positions=positions), rows + table[positions])


def test_learned_positions() -> None:
    embedding = Embedding(5, 3, pad_id=0, max_seq_len=8, position="learned", scale=False)
    expected = embedding.tokens.weight[IDS] + embedding.position.weight[2:5]
    torch.testing.assert_close(embedding(IDS, start=2), expected)


@pytest.mark.parametrize("position", ["rotary", "alibi", "none"])
def test_other_positions_add_nothing_here(position: str) -> None:
    embedding = Embedding(5, 4, pad_id=0, max_seq_len=8, position=position)
    torch.testing.assert_close(embedding(IDS), embedding.tokens.weight[IDS] * 2)


def test_padding_gets_no_gradient_and_starts_at_zero() -> None:
    embedding = Embedding(5, 4, pad_id=0, max_seq_len=8)
    assert not embedding.tokens.weight[0].any()
    embedding(IDS).square().sum().backward()
    assert not embedding.tokens.weight.grad[0].any()
    assert embedding.tokens.weight.grad[1:].all()


def test_dropout_takes_positions_with_it() -> None:
    embedding = Embedding(5, 64, pad_id=0, max_seq_len=8, dropout=0.5)
    out = embedding(IDS)
    whole = embedding.eval()(IDS)
    kept = out != 0
    assert 0.3 < kept.float().mean() < 0.7
    torch.testing.assert_close(out[kept], 2 * whole[kept])


@pytest.mark.parametrize("position", ["sinusoidal", "none"])
def test_the_longest_sequence(position: str) -> None:
    embedding = Embedding(5, 4, pad_id=0, max_seq_len=4, position=position)
    embedding(IDS, start=1)
    with pytest.raises(ValueError, match="a sequence of 5 pieces: must be at most max_seq_len = 4"):
        embedding(IDS, start=2)
