"""Attention to the source of either model against what its tap gives; shapes of what a source becomes."""

import pytest
import torch

from clearhead.errors import ModelError
from clearhead.meter.watch import watching
from clearhead.models.rnn import RNNConfig, RNNTranslator
from clearhead.tasks.translation.alignment import attention_to_source, source_shapes
from tests.small import VOCAB, assert_near, random_rows, shake, small

SRC, TGT = (torch.tensor([row]) for row in random_rows([6, 4]))


def recurrent(attention: str) -> RNNTranslator:
    torch.manual_seed(0)
    config = RNNConfig(d_model=8, n_layers=2, attention=attention, dropout=0.0)
    model = RNNTranslator(config, src_vocab_size=VOCAB, vocab_size=VOCAB)
    shake(model)
    for parameter in model.parameters():
        parameter.data *= 3
    return model.eval()


def test_a_transformer_is_asked_for_its_last_layer_but_one() -> None:
    model = small(n_decoder_layers=3)
    weights = attention_to_source(model, SRC, TGT)
    with torch.inference_mode(), watching({"tap": model.decoder.layers[1].cross_attn.core.tap}) as seen:  # type: ignore[union-attr]
        model(SRC, TGT)
    assert weights.shape == (4, 6)
    assert_near(weights, seen["tap"][0][0].mean(dim=0))


def test_a_recurrent_model_attends_step_by_step() -> None:
    model = recurrent("additive")
    weights = attention_to_source(model, SRC, TGT)
    assert weights.shape == (4, 6)
    assert_near(weights.sum(dim=1), torch.ones(4))
    changed = attention_to_source(model, SRC, torch.cat([TGT[:, :2], (TGT[:, 2:] + 1) % VOCAB], dim=1))
    assert_near(changed[:3], weights[:3])
    assert float((changed[3] - weights[3]).abs().max()) > 1e-4, "a step attends by the pieces before its own"


def test_one_vector_is_no_alignment() -> None:
    with pytest.raises(ModelError, match=r"^alignment: the model has model.attention = 'none'"):
        attention_to_source(recurrent("none"), SRC, TGT)


def test_what_a_source_becomes() -> None:
    assert source_shapes(small(n_kv_heads=2), SRC) == {
        "embedding": [1, 6, 16], "encoder layer 1": [1, 6, 16], "encoder layer 2": [1, 6, 16], "memory": [1, 6, 16],
        "cross-attention keys": [1, 2, 6, 4],
    }  # fmt: skip
    first = {"embedding": [1, 6, 8], "first states": [2, 2, 1, 8]}
    assert source_shapes(recurrent("none"), SRC) == {**first, "one vector": [1, 8]}
    assert source_shapes(recurrent("additive"), SRC) == {
        **first,
        "attention keys": [1, 1, 6, 8],
        "memory": [1, 1, 6, 8],
    }
