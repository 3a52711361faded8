"""Initialization: distributions measured, tied tables, the row of padding, the seed."""

import math

import torch

from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.init import initialize


def build(tie: str, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    config = TransformerConfig(d_model=64, d_ff=128, n_heads=4, n_encoder_layers=1, n_decoder_layers=1, tie=tie)
    return Transformer(config, src_vocab_size=500, vocab_size=500)


def test_linear_layers_are_xavier_uniform_with_zero_bias() -> None:
    up = build("all").requires_grad_(False).encoder.layers[0].mlp.up_proj
    bound = math.sqrt(6 / (64 + 128))
    assert 0.99 * bound < float(up.weight.abs().max()) <= bound
    assert abs(float(up.weight.std()) / (bound / math.sqrt(3)) - 1) < 0.03
    assert not up.bias.any()


def test_tables_are_normal_and_padding_is_zero() -> None:
    for tie in ("all", "decoder", "none"):
        model = build(tie).requires_grad_(False)
        for stack in (model.encoder, model.decoder):
            table = stack.embedding.tokens.weight
            assert abs(float(table[1:].std()) * 8 - 1) < 0.03
            assert not table[0].any()


def test_a_tied_output_layer_starts_with_unit_logits_and_scaled_rows_with_unit_features() -> None:
    model = build("all").requires_grad_(False)
    assert abs(float(model.lm_head(torch.randn(50, 64))[:, 1:].std()) - 1) < 0.05
    rows = model.encoder.embedding.tokens.weight[1:] * model.encoder.embedding.scale
    assert abs(float(rows.std()) - 1) < 0.03


def test_everything_follows_from_the_seed() -> None:
    first, again, other = (build("none", seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_a_linear_layer_without_bias() -> None:
    initialize(torch.nn.Linear(3, 4, bias=False))
