"""Parity: our pre-norm Transformer and Hugging Face's Blenderbot with the same weights give the same logits."""

from typing import Any

import pytest
import torch

from clearhead.interop.blenderbot import blenderbot_to_hugging_face
from clearhead.models.transformer import Transformer
from clearhead.nn.layer import BlockConfig
from clearhead.text.special import SPECIAL_IDS
from tests.small import VOCAB, assert_near, padded, random_rows, small

MODELS: list[dict[str, Any]] = [
    {"max_seq_len": 20},
    {"n_kv_heads": 2, "max_seq_len": 20, "position": "learned", "n_encoder_layers": 1},
    {"n_kv_heads": 1, "position": "none", "block": BlockConfig(activation="gelu", bias="all")},
    {"block": BlockConfig(activation="gelu_tanh"), "n_decoder_layers": 1},
]


def theirs_of(ours: Transformer) -> Any:
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    config, tensors = blenderbot_to_hugging_face(ours.config, ours.state_dict(), vocab_size=VOCAB, ids=SPECIAL_IDS)
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(**config))
    missing, unknown = model.load_state_dict(tensors, strict=False)
    assert unknown == []
    assert set(missing) == {"lm_head.weight", *(f"model.{side}.embed_tokens.weight" for side in ("encoder", "decoder"))}
    return model.eval()


@pytest.mark.parametrize("words", MODELS, ids=range(len(MODELS)))
@torch.no_grad()
def test_logits_of_a_padded_batch(words: dict[str, Any]) -> None:
    ours = small(**words)
    for name, tensor in ours.state_dict().items():
        if "embedding" not in name and tensor.ndim == 2:
            tensor.mul_(3)
    if ours.lm_head.bias is not None:
        ours.lm_head.bias.normal_()
    theirs = theirs_of(ours)
    (src, src_mask), (tgt, tgt_mask) = padded(random_rows([9, 2, 6])), padded(random_rows([3, 8, 5], 1))
    out = theirs(input_ids=src, attention_mask=src_mask.long(), decoder_input_ids=tgt, use_cache=False)
    assert out.logits.std() > 0.5
    assert_near(ours(src, tgt, src_mask=src_mask)[tgt_mask], out.logits[tgt_mask])
