"""The pieces at a gap are the most probable ones, of equal ones the lower ids, by numpy as by PyTorch."""

import numpy as np
import pytest
import torch

from clearhead.tasks.masked.native import ranked


@pytest.mark.parametrize("count", [1, 3, 5])
def test_ranked_as_by_pytorch(count: int) -> None:
    logits = np.random.default_rng(count).normal(0.0, 5.0, (6, 7)).astype(np.float32)
    never = np.array([0, 4])
    shares = torch.from_numpy(logits).softmax(dim=1).index_fill(1, torch.from_numpy(never), -1.0)
    expected = shares.topk(count)
    found = ranked(logits, count, never)
    assert [[piece for piece, _ in mask] for mask in found] == expected.indices.tolist()
    for mask, values in zip(found, expected.values.tolist(), strict=True):
        assert [share for _, share in mask] == pytest.approx(values, rel=1e-6)


def test_equal_pieces_are_in_the_order_of_their_ids() -> None:
    logits = np.array([[0.0, 2.0, 0.0, 2.0, 0.0, 0.0]], np.float32)
    (mask,) = ranked(logits, 4, np.array([], np.int64))
    assert [piece for piece, _ in mask] == [1, 3, 0, 2]


def test_no_gap_has_no_pieces() -> None:
    assert ranked(np.zeros((0, 7), np.float32), 3, np.array([2])) == []
