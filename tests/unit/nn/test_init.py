"""Initialization: distributions measured, tied tables, the row of padding, the seed."""

import math

import torch

from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.embedding import Embedding
from clearhead.nn.init import initialize, initialize_normal
from clearhead.nn.layer import BlockConfig, CausalLayer


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


def test_a_decoder_starts_with_small_normal_weights_and_smaller_ones_at_the_end_of_a_branch() -> None:
    torch.manual_seed(0)
    table = Embedding(300, 64, pad_id=2, max_seq_len=50, position="learned")
    layer = CausalLayer(64, n_heads=4, d_ff=128, block=BlockConfig(activation="swiglu"))
    model = torch.nn.ModuleDict({"embedding": table, "layer": layer}).requires_grad_(False)
    initialize_normal(model, n_layers=8, std=0.1)
    small = {"layer.attn.o_proj.weight", "layer.mlp.down_proj.weight"}
    for name, tensor in model.named_parameters():
        if tensor.dim() > 1:
            assert abs(float(tensor.std()) * (40 if name in small else 10) - 1) < 0.04, name  # sqrt(2 * 8) = 4
        else:
            assert torch.equal(tensor, torch.ones_like(tensor) * name.endswith("norm.weight")), name
    assert not table.tokens.weight[2].any()
    assert table.tokens.weight[[1, 3]].any(1).all()


def test_without_a_depth_all_matrices_are_alike_and_biases_are_zero() -> None:
    layer = CausalLayer(64, n_heads=4, d_ff=128)
    head = torch.nn.Linear(64, 90)
    for module in (layer, head):
        module.requires_grad_(False)
        initialize_normal(module, n_layers=None)
    for matrix in (layer.attn.o_proj.weight, layer.mlp.down_proj.weight, layer.attn.q_proj.weight, head.weight):
        assert abs(float(matrix.std()) * 50 - 1) < 0.05
    assert not head.bias.any()
    assert not layer.mlp.down_proj.bias.any()
