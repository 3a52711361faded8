"""Layers: order of the parts in pre- and post-norm, the switches, where dropout stands."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from clearhead.nn.attention import (
    AttentionName,
    CrossAttention,
    SelfAttention,
    build_core,
    normalizes_queries_and_keys,
)
from clearhead.nn.cache import KVCache
from clearhead.nn.layer import BlockConfig, CausalLayer, DecoderLayer, EncoderLayer, Layer, final_norm
from clearhead.nn.mask import causal_padding_mask, padding_mask
from clearhead.nn.norm import InstanceNorm, LayerNorm, NoNorm, NormName, norms_of
from clearhead.nn.position import Rotary
from clearhead.nn.residual import Residual
from tests.small import assert_near, shake

SIZES = {"n_heads": 2, "d_ff": 12}
X, MEMORY = torch.randn(2, 4, 8), torch.randn(2, 5, 8)
REAL = torch.tensor([[True] * 4, [True] * 2 + [False] * 2])


def encoder(**words: object) -> EncoderLayer:
    return shake(EncoderLayer(8, **SIZES, block=BlockConfig(**words))).eval()


def decoder(**words: object) -> DecoderLayer:
    return shake(DecoderLayer(8, **SIZES, block=BlockConfig(**words))).eval()


def causal(rotary: Rotary | None = None, **words: object) -> CausalLayer:
    return shake(CausalLayer(8, **SIZES, rotary=rotary, block=BlockConfig(**words))).eval()


def by_hand(layer: Layer, x: Tensor, place: str) -> Tensor:
    """The sublayers in the order that the papers give."""
    mask = causal_padding_mask(REAL) if layer.causal else padding_mask(REAL)
    branches = [("attn", lambda h: layer.attn(h, mask=mask))]
    if isinstance(layer, DecoderLayer):
        memory = layer.cross_attn.keys_values(MEMORY)
        branches.append(("cross_attn", lambda h: layer.cross_attn(h, memory)))
    for name, branch in [*branches, ("mlp", layer.mlp)]:
        if place == "pre":
            x = x + branch(getattr(layer, f"{name}_norm")(x, REAL))
        else:
            x = getattr(layer, f"{name}_post_norm")(x + branch(x), REAL)
    return x


@pytest.mark.parametrize("norm", get_args(NormName))
@pytest.mark.parametrize("place", ["pre", "post"])
def test_order_of_the_parts(norm: str, place: str) -> None:
    words = {"norm": norm, "norm_position": place, "norm_groups": 2}
    enc, dec, alone = encoder(**words), decoder(**words), causal(**words)
    assert_near(enc(X, mask=padding_mask(REAL), real=REAL), by_hand(enc, X, place))
    memory = dec.cross_attn.keys_values(MEMORY)
    assert_near(dec(X, memory, mask=causal_padding_mask(REAL), real=REAL), by_hand(dec, X, place))
    assert_near(alone(X, mask=causal_padding_mask(REAL), real=REAL), by_hand(alone, X, place))
    assert (len(norms_of(enc)), len(norms_of(dec)), len(norms_of(alone))) == (2, 3, 2)


@pytest.mark.parametrize("place", ["pre", "post"])
def test_the_residual_and_the_mlp_can_be_switched_off(place: str) -> None:
    layer = encoder(norm_position=place, residual=False, mlp=False)
    assert layer.mlp is None
    assert not [name for name in layer.state_dict() if "mlp" in name]
    h = layer.attn_norm(X)
    assert_near(layer(X), layer.attn_post_norm(layer.attn(h)))
    assert all(not module.skip for module in decoder(residual=False).modules() if isinstance(module, Residual))


def test_a_stack_of_pre_norm_layers_ends_in_a_norm() -> None:
    assert isinstance(final_norm(BlockConfig(norm_position="pre"), 8), LayerNorm)
    assert isinstance(final_norm(BlockConfig(norm_position="post"), 8), NoNorm)
    norm = final_norm(BlockConfig(norm="instance", norm_eps=0.5), 8, causal=True)
    assert isinstance(norm, InstanceNorm)
    assert (norm.causal, norm.eps) == (True, 0.5)
    for layer in (decoder(norm="instance"), causal(norm="instance")):
        assert all(norm.causal for norm in norms_of(layer))
    assert not any(norm.causal for norm in norms_of(encoder(norm="instance")))


def test_bias_is_left_out_of_every_linear_layer() -> None:
    names = list(decoder(bias=False, activation="swiglu").state_dict())
    assert [name for name in names if name.endswith("proj.bias")] == []
    assert len([name for name in decoder(activation="swiglu").state_dict() if name.endswith("proj.bias")]) == 11


def test_dropout_stands_in_its_places() -> None:
    block = BlockConfig(attn_dropout=0.1, mlp_dropout=0.2)
    layer = DecoderLayer(8, **SIZES, dropout=0.3, drop_path=0.4, block=block)
    assert [layer.attn.core.dropout.p, layer.cross_attn.core.dropout.p, layer.mlp.dropout.p] == [0.1, 0.1, 0.2]
    residuals = [layer.attn_residual, layer.cross_attn_residual, layer.mlp_residual]
    assert [(part.dropout.p, part.drop_path) for part in residuals] == [(0.3, 0.4)] * 3


def test_the_decoder_layer_sees_no_future() -> None:
    layer = decoder()
    memory = layer.cross_attn.keys_values(MEMORY)
    changed = X.clone()
    changed[:, 2] += 1
    before, after = layer(X, memory), layer(changed, memory)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2:], after[:, 2:])


def test_the_causal_layer_sees_no_future_and_no_memory() -> None:
    layer, changed = causal(), X.clone()
    changed[:, 2] += 1
    before, after = layer(X), layer(changed)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2:], after[:, 2:])
    assert not [name for name in layer.state_dict() if "cross" in name]


@torch.no_grad()
def test_the_causal_layer_passes_on_cache_and_positions() -> None:
    layer = causal(rotary=Rotary(4, 40))
    cache, parts = KVCache(n_layers=1, rows=2, kv_heads=2, head_dim=4, capacity=4, like=X), []
    for new in X.split([1, 3], dim=1):
        parts.append(layer(new, cache=cache.layers[0]))
        cache.advance(new.shape[1])
    assert_near(torch.cat(parts, 1), layer(X))
    places = torch.tensor([[0, 5, 6, 20], [3, 4, 5, 6]])
    told = layer(X, positions=places)
    assert_near(told[1], layer(X)[1])  # only distances matter
    assert not torch.allclose(told[0], layer(X)[0], atol=1e-4)


@pytest.mark.parametrize("kind", [EncoderLayer, CausalLayer, DecoderLayer])
def test_the_attention_of_every_layer_is_the_one_of_its_word(kind: type[Layer]) -> None:
    for word in get_args(AttentionName):
        layer = kind(8, **SIZES, block=BlockConfig(attention=word))
        found = [part for part in layer.modules() if isinstance(part, SelfAttention | CrossAttention)]
        assert len(found) == (2 if kind is DecoderLayer else 1)
        assert [part.qk_norm for part in found] == [normalizes_queries_and_keys(word)] * len(found)
        assert [type(part.core) for part in found] == [type(build_core(word, 2, 4))] * len(found)
