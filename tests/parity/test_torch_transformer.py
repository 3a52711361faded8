"""Parity: our Transformer and torch.nn.Transformer with the same weights give the same states."""

from typing import Literal

import pytest
import torch
from torch import nn

from clearhead.models.transformer import Transformer
from clearhead.nn.attention import CrossAttention, SelfAttention
from clearhead.nn.layer import BlockConfig
from tests.small import assert_near, padded, random_rows, small


def copy_attention(ours: SelfAttention | CrossAttention, theirs: nn.MultiheadAttention) -> None:
    parts = [ours.q_proj, ours.k_proj, ours.v_proj]
    theirs.in_proj_weight.data.copy_(torch.cat([part.weight for part in parts]))
    theirs.in_proj_bias.data.copy_(torch.cat([part.bias for part in parts]))
    theirs.out_proj.load_state_dict(ours.o_proj.state_dict())


def torch_twin(model: Transformer, activation: Literal["relu", "gelu"]) -> nn.Transformer:
    """Returns torch's module with the weights of ``model``."""
    config = model.config
    first = config.block.norm_position == "pre"
    theirs = nn.Transformer(
        config.d_model,
        config.n_heads,
        config.n_encoder_layers,
        config.n_decoder_layers,
        config.d_ff,
        activation=activation,
        batch_first=True,
        norm_first=first,
    ).eval()
    place = "norm" if first else "post_norm"
    for mine, other in zip(model.encoder.layers, theirs.encoder.layers, strict=True):
        norms = {"attn": other.norm1, "mlp": other.norm2}
        copy_attention(mine.attn, other.self_attn)
        for name, norm in norms.items():
            norm.load_state_dict(getattr(mine, f"{name}_{place}").state_dict())
    for mine, other in zip(model.decoder.layers, theirs.decoder.layers, strict=True):
        norms = {"attn": other.norm1, "cross_attn": other.norm2, "mlp": other.norm3}
        copy_attention(mine.attn, other.self_attn)
        copy_attention(mine.cross_attn, other.multihead_attn)
        for name, norm in norms.items():
            norm.load_state_dict(getattr(mine, f"{name}_{place}").state_dict())
    for ours, stack in ((model.encoder, theirs.encoder), (model.decoder, theirs.decoder)):
        for mine, other in zip(ours.layers, stack.layers, strict=True):
            other.linear1.load_state_dict(mine.mlp.up_proj.state_dict())
            other.linear2.load_state_dict(mine.mlp.down_proj.state_dict())
        if first:
            stack.norm.load_state_dict(ours.norm.state_dict())
        else:
            stack.norm = None  # torch norms once more after a post-norm stack, the paper does not
    return theirs


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize("side", ["right", "left"])
@torch.no_grad()
def test_states_and_logits(activation: Literal["relu", "gelu"], place: Literal["pre", "post"], side: str) -> None:
    block = BlockConfig(norm_position=place, activation=activation)
    model = small(d_model=32, d_ff=64, n_encoder_layers=3, block=block)
    theirs = torch_twin(model, activation)
    (src, src_mask), (tgt, tgt_mask) = padded(random_rows([7, 3, 5]), side), padded(random_rows([2, 6, 4], 1))
    src_at = (src_mask.cumsum(1) - 1).clamp(min=0)
    states = theirs(
        model.encoder.embedding(src, positions=src_at),
        model.decoder.embedding(tgt),
        tgt_mask=torch.ones(6, 6, dtype=torch.bool).triu(1),
        src_key_padding_mask=~src_mask,
        memory_key_padding_mask=~src_mask,
        tgt_is_causal=True,
    )
    assert_near(model.hidden(src, tgt, src_mask=src_mask)[tgt_mask], states[tgt_mask])
    logits = states @ model.encoder.embedding.tokens.weight.T
    assert_near(model(src, tgt, src_mask=src_mask)[tgt_mask], logits[tgt_mask])


@pytest.mark.parametrize("place", ["pre", "post"])
def test_gradients(place: Literal["pre", "post"]) -> None:
    model = small(d_model=32, d_ff=64, block=BlockConfig(norm_position=place))
    theirs = torch_twin(model, "relu")
    src, tgt = torch.tensor(random_rows([5, 5])), torch.tensor(random_rows([4, 4], 1))
    causal = torch.ones(4, 4, dtype=torch.bool).triu(1)
    states = theirs(model.encoder.embedding(src), model.decoder.embedding(tgt), tgt_mask=causal)
    states.square().mean().backward()
    table = model.encoder.embedding.tokens.weight
    expected, table.grad = table.grad, None
    model.hidden(src, tgt).square().mean().backward()
    assert_near(table.grad, expected)
    for mine, other in zip(model.decoder.layers, theirs.decoder.layers, strict=True):
        assert_near(mine.mlp.up_proj.weight.grad, other.linear1.weight.grad)
        assert_near(mine.cross_attn.o_proj.weight.grad, other.multihead_attn.out_proj.weight.grad)
        assert_near(mine.attn.k_proj.weight.grad, other.self_attn.in_proj_weight.grad.chunk(3)[1])
