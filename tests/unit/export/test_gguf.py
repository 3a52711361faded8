"""GGUF: transformers computes from the file what our GPTs compute; names, types and refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearhead.errors import ModelError
from clearhead.export.gguf import Quantization, architecture_of, write_gguf
from clearhead.export.runtime import OneStack
from clearhead.models.bert import Bert, BertConfig, Pooling
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.layer import BlockConfig
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from tests.small import assert_near, shake

gguf = pytest.importorskip("gguf", reason="gguf is not installed: it reads what is written here")
LINES = ["the cat sat on the mat", "a dog ran home, and a cat did not"] * 3
SIZES: dict[str, Any] = {"d_model": 32, "d_ff": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 32, "dropout": 0.0}
ROTARY: dict[str, Any] = {"position": "rotary", "rotary_theta": 500.0}
MODERN: dict[str, Any] = {"norm": "rms", "activation": "swiglu", "bias": False}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(LINES, TokenizerConfig(kind="bpe", vocab_size=80))


@pytest.fixture(scope="module")
def lowered() -> Tokenizer:
    config = TokenizerConfig(kind="wordpiece", vocab_size=80, specials="masked", lowercase=True)
    return Tokenizer.train(LINES, config)


def gpt(vocab_size: int, **words: Any) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(**{**SIZES, **words}), vocab_size=vocab_size)
    for parameter in shake(model).parameters():
        parameter.data *= 4 if parameter.ndim == 2 else 1
    return model.eval()


def bert(vocab_size: int, **words: Any) -> Bert:
    torch.manual_seed(0)
    model = Bert(BertConfig(**{**SIZES, **words}), vocab_size=vocab_size)
    shake(model)
    return model.eval()


MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"d_ff": 128, "max_seq_len": 1024},  # the sizes that transformers takes for granted in a GGUF of gpt2
    "llama": {**ROTARY, "n_kv_heads": 2, "tie": False, "block": BlockConfig(**MODERN)},
    "qwen3": {**ROTARY, "block": BlockConfig(**MODERN, attention="qk_norm")},
}


@torch.no_grad()
@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.filterwarnings("ignore")
def test_transformers_computes_the_same_from_the_file(architecture: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = gpt(tokenizer.vocab_size, **MODELS[architecture])
    assert architecture_of(model.config) == architecture
    write_gguf(tmp_path / "model.gguf", model, tokenizer, name="small", quantize="f32")
    unread = {"head_dim": 8} if architecture == "qwen3" else {}  # which transformers does not take from the file
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32, **unread)
    theirs.eval()
    ids = torch.tensor([tokenizer.encode(LINES[1])])
    assert theirs.config.model_type == architecture
    logits = theirs(ids).logits[..., : tokenizer.vocab_size]
    assert logits.std() > 0.5
    assert_near(logits, model(ids), 1e-5)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    reader = gguf.GGUFReader(path)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    return keys, {tensor.name: tensor for tensor in reader.tensors}


def test_keys_and_a_piece_for_each_byte(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = gpt(tokenizer.vocab_size, **MODELS["llama"])
    write_gguf(tmp_path / "model.gguf", model, tokenizer, name="small", quantize="f32")
    keys, tensors = read(tmp_path / "model.gguf")
    assert keys["general.architecture"] == "llama"
    assert keys["general.name"] == "small"
    assert keys["llama.attention.head_count_kv"] == 2
    assert keys["llama.rope.freq_base"] == 500.0
    assert keys["tokenizer.ggml.model"] == "llama"
    size = tokenizer.vocab_size
    assert keys["tokenizer.ggml.tokens"][size:] == [f"<0x{byte:02X}>" for byte in range(256)]
    assert keys["tokenizer.ggml.tokens"][tokenizer.encode("the")[0]] == "▁the"
    table = tensors["output.weight"].data
    assert len(table) == size + 256
    assert (table[size:] == table[3]).all(), "what is no piece is as unlikely as the unknown one"
    assert str(tmp_path).encode() not in (tmp_path / "model.gguf").read_bytes()


@pytest.mark.parametrize(("quantize", "near"), [("f16", 1e-3), ("q8_0", 0.01), ("q5_0", 0.08), ("q4_0", 0.15)])
def test_matrices_are_quantized_and_the_rest_is_whole(
    quantize: Quantization, near: float, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = gpt(tokenizer.vocab_size)
    write_gguf(tmp_path / "model.gguf", model, tokenizer, name="small", quantize=quantize)
    _, tensors = read(tmp_path / "model.gguf")
    for name, tensor in tensors.items():
        apart = name.startswith("position_embd") or tensor.data.ndim < 2
        assert tensor.tensor_type.name.lower() == ("f32" if apart else quantize), name
    up = tensors["blk.0.ffn_up.weight"]
    back = torch.from_numpy(np.array(gguf.dequantize(up.data, up.tensor_type)))
    weight = model.state_dict()["layers.0.mlp.up_proj.weight"]
    assert (back - weight).abs().max() <= near * weight.abs().max()


def test_a_bert_has_its_pooling_and_its_words_as_there(lowered: Tokenizer, tmp_path: Path) -> None:
    model = bert(lowered.vocab_size)
    poolings: dict[Pooling, int] = {"mean": 1, "first": 2}
    for pooling, number in poolings.items():
        write_gguf(tmp_path / "model.gguf", model, lowered, name="small", quantize="f32", pooling=pooling)
        keys, tensors = read(tmp_path / "model.gguf")
        assert keys["bert.pooling_type"] == number
        assert keys["bert.attention.causal"] is False
    tokens = keys["tokenizer.ggml.tokens"]
    assert tokens[:7] == ["<pad>", "<s>", "</s>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    assert tokens[lowered.encode("cat")[0]] == "▁cat"
    assert {"attn_q.weight", "attn_output_norm.bias", "layer_output_norm.weight"} <= {
        name.removeprefix("blk.0.") for name in tensors
    }


REFUSED: list[tuple[OneStack, str]] = [
    (gpt(80, position="sinusoidal"), "GGUF's llama: model.position = 'sinusoidal': must be 'rotary'"),
    (gpt(80, position="rotary"), "GGUF's llama: model.block.norm = 'layer': must be 'rms'"),
    (
        gpt(80, block=BlockConfig(activation="relu")),
        "GGUF's gpt2: model.block.activation = 'relu': must be 'gelu_tanh'",
    ),
    (gpt(80, n_kv_heads=2), "GGUF's gpt2: model.n_kv_heads = 2: must be None or 4"),
    (bert(80, position="rotary"), "GGUF's bert: model.position = 'rotary': must be 'learned'"),
    (bert(80, block=BlockConfig(activation="gelu")), "GGUF's bert: model.block.norm_position = 'pre': must be 'post'"),
]


@pytest.mark.parametrize(("model", "rule"), REFUSED, ids=range(len(REFUSED)))
def test_what_it_cannot_compute_is_refused_by_its_key(
    model: OneStack, rule: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=rule):
        write_gguf(tmp_path / "model.gguf", model, tokenizer, name="small", quantize="f32")
    assert list(tmp_path.iterdir()) == []
