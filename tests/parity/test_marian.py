"""Parity: our Transformer and Hugging Face's Marian with the same random weights give the same logits."""

from typing import Any

import pytest
import torch
from torch import nn

from clearhead.interop.marian import marian_from_hugging_face
from clearhead.models.transformer import Transformer, TransformerConfig
from tests.small import VOCAB, assert_near, padded, random_rows, shake


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


def twin(theirs: Any) -> Transformer:
    """Returns our model with the weights of ``theirs``."""
    config, tensors, _ = marian_from_hugging_face(theirs.config.to_dict(), theirs.state_dict())
    ours = Transformer(config, src_vocab_size=VOCAB, vocab_size=VOCAB).eval()
    ours.load_state_dict(tensors)
    return ours


@pytest.mark.parametrize("name", ["swish", "relu", "gelu"])
@torch.no_grad()
def test_logits_of_a_padded_batch(name: str) -> None:
    theirs = marian(name)
    theirs.final_logits_bias.normal_()
    ours = twin(theirs)
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
