"""Queries and keys with another epsilon: stretched they are normalized as ours are; gains are refused."""

import pytest
import torch

from clearhead.errors import ModelError
from clearhead.interop.qk_norm import stretch, stretched, stretched_linear, without_gains
from clearhead.nn.attention import unit_rms


@pytest.mark.parametrize("eps", [1e-6, 1e-5, 0.01])
def test_a_stretched_vector_is_normalized_as_ours(eps: float) -> None:
    """Down to vectors so short that the epsilon is most of what they are divided by."""
    for size in (1.0, 1e-2, 1e-4, 1e-5):
        vectors = torch.randn(20, 16) * size
        theirs = torch.nn.functional.rms_norm(vectors * stretch(eps), (16,), eps=eps)
        assert torch.allclose(theirs, unit_rms(vectors), rtol=1e-6, atol=0)
        plain = torch.nn.functional.rms_norm(vectors, (16,), eps=eps)
        assert size == 1.0 or not torch.allclose(plain, unit_rms(vectors), rtol=1e-3, atol=0)


def test_only_queries_and_keys_are_stretched() -> None:
    names = [f"layers.0.attn.{part}_proj.weight" for part in "qkvo"] + ["layers.0.attn.q_proj.bias", "lm_head.weight"]
    result = stretched(dict.fromkeys(names, torch.ones(2)), 3.0)
    assert [float(result[name][0]) for name in names] == [3, 3, 1, 1, 3, 1]


def test_a_projection_is_copied_not_changed() -> None:
    layer = torch.nn.Linear(3, 4)
    before = layer.weight.clone()
    longer = stretched_linear(layer, 1e-5)
    assert torch.allclose(longer.weight, before * stretch(1e-5))
    assert torch.allclose(longer.bias, layer.bias * stretch(1e-5))
    assert torch.equal(layer.weight, before)


def test_gains_are_left_out_only_where_they_do_nothing() -> None:
    gains = {"model.layers.0.self_attn.q_norm.weight": torch.ones(4), "model.norm.weight": torch.zeros(4)}
    assert [*without_gains(gains)] == ["model.norm.weight"]
    gains["model.layers.0.self_attn.k_norm.weight"] = torch.tensor([1.0, 1.0, 1.5, 1.0])
    with pytest.raises(ModelError, match=r"k_norm.weight' is not 1 everywhere: clearhead's qk_norm has no gain"):
        without_gains(gains)
