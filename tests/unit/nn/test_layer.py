"""Layers: order of the parts in pre- and post-norm, the switches, where dropout stands."""

import pytest
import torch
from torch import Tensor

from clearhead.nn.layer import BlockConfig, DecoderLayer, EncoderLayer, Layer, final_norm
from clearhead.nn.mask import causal_padding_mask, padding_mask
from clearhead.nn.norm import InstanceNorm, LayerNorm, NoNorm, norms_of
from clearhead.nn.residual import Residual
from tests.small import assert_near, shake

SIZES = {"n_heads": 2, "d_ff": 12}
X, MEMORY = torch.randn(2, 4, 8), torch.randn(2, 5, 8)
REAL = torch.tensor([[True] * 4, [True] * 2 + [False] * 2])


def encoder(**words: object) -> EncoderLayer:
    return shake(EncoderLayer(8, **SIZES, block=BlockConfig(**words))).eval()


def decoder(**words: object) -> DecoderLayer:
    return shake(DecoderLayer(8, **SIZES, block=BlockConfig(**words))).eval()


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


@pytest.mark.parametrize("norm", ["layer", "rms", "instance", "group", "batch"])
@pytest.mark.parametrize("place", ["pre", "post"])
def test_order_of_the_parts(norm: str, place: str) -> None:
    words = {"norm": norm, "norm_position": place, "norm_groups": 2}
    enc, dec = encoder(**words), decoder(**words)
    assert_near(enc(X, mask=padding_mask(REAL), real=REAL), by_hand(enc, X, place))
    memory = dec.cross_attn.keys_values(MEMORY)
    assert_near(dec(X, memory, mask=causal_padding_mask(REAL), real=REAL), by_hand(dec, X, place))
    assert (len(norms_of(enc)), len(norms_of(dec))) == (2, 3)


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
    assert all(norm.causal for norm in norms_of(decoder(norm="instance")))
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
