"""Embeddings: scale, positions, segments, norm, dropout on the output, the longest sequence."""

from typing import Any

import pytest
import torch

from clearhead.nn.embedding import Embedding, SegmentedEmbedding
from clearhead.nn.norm import build_norm
from clearhead.nn.position import sinusoidal_table

IDS = torch.tensor([[3, 1, 2], [4, 0, 0]])
SEGMENTS = torch.tensor([[0, 1, 1], [2, 0, 0]])


def segmented(norm: str = "layer", **words: Any) -> SegmentedEmbedding:
    layer = build_norm(norm, 4, groups=2)
    return SegmentedEmbedding(5, 4, **{"pad_id": 0, "max_seq_len": 8, "n_segments": 3, "norm": layer, **words})


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


def test_segments_and_positions_are_added_before_the_norm() -> None:
    embedding = segmented()
    embedding.norm.weight.data += torch.rand(4)
    positions = torch.tensor([[2, 0, 1], [7, 7, 7]])
    for places in (None, positions):
        rows = embedding.tokens.weight[IDS] + embedding.position.weight[torch.arange(3) if places is None else places]
        expected = embedding.norm(rows + embedding.segments.weight[SEGMENTS])
        torch.testing.assert_close(embedding(IDS, segments=SEGMENTS, positions=places), expected)
    first = embedding(IDS, segments=torch.zeros_like(IDS))
    torch.testing.assert_close(embedding(IDS), first)
    assert not torch.allclose(first, embedding(IDS, segments=SEGMENTS), atol=1e-2)


def test_names_of_the_tables() -> None:
    assert list(segmented().state_dict()) == [
        *("tokens.weight", "position.weight", "segments.weight", "norm.weight", "norm.bias"),
    ]
    assert list(segmented(position="sinusoidal").state_dict())[:2] == ["tokens.weight", "segments.weight"]
    assert list(Embedding(5, 4, pad_id=0, max_seq_len=8).state_dict()) == ["tokens.weight"]


def test_the_first_segment_learns_where_none_are_said() -> None:
    embedding = segmented()
    (embedding(IDS) * torch.arange(4)).sum().backward()
    assert embedding.segments.weight.grad[0].any()
    assert not embedding.segments.weight.grad[1:].any()


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_padding_does_not_enter_the_statistics(norm: str) -> None:
    embedding = segmented(norm).train()
    real = torch.tensor([[True, True, True], [True, True, False]])
    changed = IDS.clone()
    changed[1, 2] = 2
    first, second = (embedding(ids, real=real) for ids in (IDS, changed))
    torch.testing.assert_close(first[real], second[real])


def test_dropout_comes_after_the_norm_and_the_longest_sequence_is_kept() -> None:
    embedding = segmented(dropout=0.5)
    out = embedding(IDS)
    kept = out != 0
    assert 0 < kept.float().mean() < 1
    torch.testing.assert_close(out[kept], 2 * embedding.eval()(IDS)[kept])
    with pytest.raises(ValueError, match="a sequence of 9 pieces: must be at most max_seq_len = 8"):
        embedding(torch.zeros(1, 9, dtype=torch.long))
