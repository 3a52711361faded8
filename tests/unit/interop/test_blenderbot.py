"""Our pre-norm encoder-decoder as a Blenderbot: config, names, grouped heads, positions, refusals."""

import dataclasses
from typing import Any

import pytest
import torch

from clearhead.errors import ModelError
from clearhead.interop.blenderbot import blenderbot_to_hugging_face, check_blenderbot
from clearhead.models.transformer import TransformerConfig
from clearhead.nn.layer import BlockConfig
from clearhead.text.special import SPECIAL_IDS
from tests.small import VOCAB, small


def written(**words: Any) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    ours = small(n_encoder_layers=1, n_decoder_layers=1, **words)
    return blenderbot_to_hugging_face(ours.config, ours.state_dict(), vocab_size=VOCAB, ids=SPECIAL_IDS)


def test_the_config_and_the_names_are_those_of_their_class() -> None:
    from transformers import BlenderbotConfig, BlenderbotForConditionalGeneration

    tree, tensors = written(max_seq_len=20)
    with torch.device("meta"):
        theirs = BlenderbotForConditionalGeneration(BlenderbotConfig(**tree))
    names = {name for name in theirs.state_dict() if not name.endswith(("embed_tokens.weight", "lm_head.weight"))}
    assert tensors.keys() == names
    assert (tree["decoder_start_token_id"], tree["bos_token_id"], tree["eos_token_id"], tree["pad_token_id"]) == (
        1,
        1,
        2,
        0,
    )
    assert (theirs.config.forced_eos_token_id, theirs.config.encoder_no_repeat_ngram_size) == (None, 0)


def test_positions_become_tables_and_heads_are_repeated() -> None:
    _, tensors = written(position="none", n_kv_heads=2, max_seq_len=20)
    assert not tensors["model.decoder.embed_positions.weight"].any()
    keys = tensors["model.encoder.layers.0.self_attn.k_proj.weight"].view(4, 4, 16)
    assert torch.equal(keys[0], keys[1])
    assert torch.equal(keys[2], keys[3])
    assert not torch.equal(keys[1], keys[2])
    _, tensors = written(position="sinusoidal", max_seq_len=20)
    assert tensors["model.encoder.embed_positions.weight"][0].tolist() == [0.0, 1.0] * 8


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ({"position": "rotary"}, "model.position = 'rotary': must be 'sinusoidal' or 'learned' or 'none'"),
        ({"tie": "decoder"}, "model.tie = 'decoder': must be 'all'"),
        ({"block": {"norm": "rms"}}, "model.block.norm = 'rms': must be 'layer'"),
        ({"block": {"norm_position": "post"}}, "model.block.norm_position = 'post': must be 'pre'"),
        ({"block": {"norm_eps": 1e-6}}, "model.block.norm_eps = 1e-06: must be 1e-05"),
        ({"block": {"attention": "qk_norm"}}, "model.block.attention = 'qk_norm': must be 'scaled_dot_product'"),
        ({"block": {"activation": "swiglu"}}, "model.block.activation = 'swiglu': must be"),
        ({"block": {"bias": False}}, "model.block.bias = False: must be True or 'all'"),
    ],
    ids=str,
)
def test_what_it_cannot_be_is_refused_by_its_key(words: dict[str, Any], rule: str) -> None:
    block = dataclasses.replace(BlockConfig(), **words.get("block", {}))
    with pytest.raises(ModelError, match=f"^Hugging Face's blenderbot: {rule}"):
        check_blenderbot(TransformerConfig(**{**words, "block": block}))
