"""What was packed in float32 comes back bit for bit, into the model's own memory; another model's is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.checkpoint import model_tensors
from clearhead.engine.weights.describe import Covered, described
from clearhead.engine.weights.image import Image
from clearhead.engine.weights.unpacking import arrays_of, unpack
from clearhead.models.bert import BertClassifier, BertConfig, BertPretraining
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.layer import BlockConfig
from tests.native import configs
from tests.small import VOCAB, shake, small, small_gpt

KINDS = ("transformer", "gpt", "bert", "classifier")


def model_of(kind: str, sizes: dict[str, Any], block: dict[str, Any], *, tie: bool) -> Covered:
    plain = {**sizes, "block": BlockConfig(**block), "max_seq_len": 9}
    if kind == "transformer":
        config = TransformerConfig(n_encoder_layers=2, n_decoder_layers=1, **plain, tie="all" if tie else "none")
        model: Any = Transformer(config, src_vocab_size=VOCAB, vocab_size=VOCAB)
    elif kind == "gpt":
        model = GPT(GPTConfig(n_layers=2, **plain, tie=tie), vocab_size=VOCAB)
    elif kind == "bert":
        model = BertPretraining(BertConfig(n_layers=2, **plain), vocab_size=VOCAB)
    else:
        model = BertClassifier(BertConfig(n_layers=2, **plain), vocab_size=VOCAB, kind="sequence", n_labels=3)
    shake(model)
    covered: Covered = model.eval()
    return covered


@settings(max_examples=60, deadline=None)
@given(drawn=configs(), kind=st.sampled_from(KINDS), tie=st.booleans())
def test_every_weight_of_any_covered_model_comes_back(drawn: Any, kind: str, tie: bool) -> None:
    torch.manual_seed(0)
    model, other = (model_of(kind, *drawn, tie=tie) for _ in range(2))
    unpack(Image(described(model)), described(other))
    packed = {array.ctypes.data for array in arrays_of(described(other))}
    own, theirs = model_tensors(model), model_tensors(other)
    apart = [name for name, tensor in theirs.items() if not torch.equal(tensor, own[name])]
    left = [name for name, tensor in theirs.items() if tensor.data_ptr() not in packed and tensor.numel()]
    assert set(apart) <= set(left)
    assert all(name.startswith(("nsp_head.", "bert.pooler.")) for name in left)
    assert bool(left) == (kind == "bert")


def test_the_image_of_another_model_is_refused() -> None:
    image = Image(described(small_gpt(position="rotary")))
    for sizes in ({"d_model": 32}, {"n_layers": 3}, {"vocab_size": 40}, {"position": "learned"}, {"d_ff": 40}):
        with pytest.raises(ValueError, match="it has "):
            unpack(image, described(small_gpt(**{"position": "rotary", **sizes})))
    with pytest.raises(ValueError, match="it has "):
        unpack(Image(described(small()), "int8"), described(small()))


def test_arrays_of_layers_that_are_packed_as_one_are_the_models_own() -> None:
    model = small(tie="none", block=BlockConfig(bias="all"))
    own = {tensor.data_ptr() for tensor in model.parameters()}
    assert own == {array.ctypes.data for array in arrays_of(described(model))} & own
    assert all(array.dtype == np.float32 for array in arrays_of(described(model)))
