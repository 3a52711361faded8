"""Parity: our Transformer and Hugging Face's Marian with the same random weights give the same logits."""

from typing import Any

import pytest
import torch
from torch import nn

from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.layer import BlockConfig
from tests.small import VOCAB, assert_near, padded, random_rows, shake

ATTENTION = {"q_proj": "q_proj", "k_proj": "k_proj", "v_proj": "v_proj", "o_proj": "out_proj"}
PARTS = {
    **{f"attn.{ours}": f"self_attn.{theirs}" for ours, theirs in ATTENTION.items()},
    "attn_post_norm": "self_attn_layer_norm",
    "mlp.up_proj": "fc1",
    "mlp.down_proj": "fc2",
    "mlp_post_norm": "final_layer_norm",
}
CROSS = {
    **{f"cross_attn.{ours}": f"encoder_attn.{theirs}" for ours, theirs in ATTENTION.items()},
    "cross_attn_post_norm": "encoder_attn_layer_norm",
}


def marian(activation: str) -> nn.Module:
    from transformers import MarianConfig, MarianMTModel

    sizes = {"d_model": 32, "encoder_layers": 3, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
    config = MarianConfig(
        vocab_size=VOCAB,
        max_position_embeddings=20,
        activation_function=activation,
        scale_embedding=True,
        init_std=0.2,
        **sizes,
        **heads,
        **ids,
    )
    torch.manual_seed(0)
    model = MarianMTModel(config)
    shake(model)
    return model.eval()


def twin(theirs: Any, activation: str) -> Transformer:
    """Returns our model with the weights of ``theirs``."""
    sizes = {"d_model": 32, "d_ff": 48, "n_heads": 4, "n_encoder_layers": 3, "n_decoder_layers": 2, "max_seq_len": 20}
    block = BlockConfig(norm_position="post", activation=activation)
    ours = Transformer(TransformerConfig(**sizes, block=block), src_vocab_size=VOCAB, vocab_size=VOCAB).eval()
    ours.lm_head.load_state_dict(theirs.lm_head.state_dict())
    for mine, other in ((ours.encoder, theirs.model.encoder), (ours.decoder, theirs.model.decoder)):
        # Marian has all sines before all cosines
        mine.embedding.position.table.copy_(other.embed_positions.weight)
        parts = PARTS | CROSS if mine is ours.decoder else PARTS
        for layer, source in zip(mine.layers, other.layers, strict=True):
            for name, theirs_name in parts.items():
                layer.get_submodule(name).load_state_dict(source.get_submodule(theirs_name).state_dict())
    return ours


@pytest.mark.parametrize(("name", "activation"), [("swish", "silu"), ("relu", "relu"), ("gelu", "gelu")])
@torch.no_grad()
def test_logits_of_a_padded_batch(name: str, activation: str) -> None:
    theirs = marian(name)
    theirs.final_logits_bias.zero_()
    ours = twin(theirs, activation)
    assert torch.equal(ours.encoder.embedding.tokens.weight, theirs.model.shared.weight)
    (src, src_mask), (tgt, tgt_mask) = padded(random_rows([9, 2, 6])), padded(random_rows([3, 8, 5], 1))
    out = theirs(input_ids=src, attention_mask=src_mask.long(), decoder_input_ids=tgt, use_cache=False)
    assert out.logits.std() > 0.5
    assert_near(ours(src, tgt, src_mask=src_mask)[tgt_mask], out.logits[tgt_mask])


@torch.no_grad()
def test_the_two_sinusoidal_layouts_hold_the_same_numbers() -> None:
    theirs = marian("relu").model.encoder.embed_positions.weight
    ours = Transformer(
        TransformerConfig(d_model=32, n_heads=4, max_seq_len=20), src_vocab_size=VOCAB, vocab_size=VOCAB
    ).encoder.embedding.position.table
    assert_near(torch.cat([ours[:, 0::2], ours[:, 1::2]], dim=1), theirs)
