"""Masks: True = may attend; each entry against the sentence that defines it."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.nn.mask import (
    additive_mask,
    causal_mask,
    causal_padding_mask,
    document_mask,
    padding_mask,
    positions_of,
    with_bias,
)

masks = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=3)
)


@settings(max_examples=30, deadline=None)
@given(masks)
def test_every_entry(rows: list[list[bool]]) -> None:
    real = torch.tensor(rows)
    width = len(rows[0])
    both = causal_padding_mask(real)
    assert padding_mask(real).shape == (len(rows), 1, 1, width)
    for b, row in enumerate(rows):
        assert padding_mask(real)[b, 0, 0].tolist() == row
        assert positions_of(real)[b].tolist() == [max(sum(row[: i + 1]) - 1, 0) for i in range(width)]
        for q in range(width):
            expected = [k == q or (k < q and row[k]) for k in range(width)]
            assert both[b, 0, q].tolist() == expected


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=5), min_size=1, max_size=3))
def test_documents_see_themselves_alone(rows: list[list[int]]) -> None:
    mask = document_mask(torch.tensor(rows))
    assert mask.shape == (len(rows), 1, 5, 5)
    for b, row in enumerate(rows):
        assert mask[b, 0].tolist() == [[one == other for other in row] for one in row]


def test_causal_mask_counts_from_the_end() -> None:
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True] * 4]
    assert causal_mask(1, 1).tolist() == [[True]]


def test_bias_becomes_the_float_form_of_a_mask() -> None:
    mask, bias = torch.tensor([[True, False]])[None, None], torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    assert with_bias(mask, None) is mask
    assert with_bias(None, None) is None
    assert torch.equal(with_bias(None, bias), bias[None])
    inf = float("inf")
    assert with_bias(mask, bias).tolist() == [[[[1.0, -inf]], [[3.0, -inf]]]]


def test_additive_form_of_a_mask() -> None:
    assert additive_mask(torch.tensor([True, False])).tolist() == [0.0, float("-inf")]
