"""A GGUF file read back: the numbers are where the writer took them from, whatever it did to them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.errors import ModelError
from clearhead.export import gguf as writer
from clearhead.export.compare import compare_outputs
from clearhead.export.gguf import write_gguf
from clearhead.export.ours import Ours
from clearhead.export.runtime import Row
from clearhead.models.bert import BertConfig, BertPretraining
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.layer import BlockConfig
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from tests.small import shake

pytest.importorskip("gguf", reason="gguf is not installed: it is what reads here")
LINES = ["the cat sat on the mat", "a dog ran home, and a cat didn't"] * 3
SIZES: dict[str, Any] = {"d_model": 32, "d_ff": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 32}
MODERN: dict[str, Any] = {"norm": "rms", "activation": "swiglu", "bias": False}
ROTARY: dict[str, Any] = {"position": "rotary", "dropout": 0.0}
KINDS: dict[str, dict[str, Any]] = {
    "gpt2": {"dropout": 0.0},
    "llama": {**ROTARY, "n_kv_heads": 2, "tie": False, "block": BlockConfig(**MODERN)},
    "qwen3": {**ROTARY, "block": BlockConfig(**MODERN, attention="qk_norm", norm_eps=1e-5)},
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(LINES, TokenizerConfig(kind="bpe", vocab_size=80))


def gpt(vocab_size: int, **words: Any) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(**{**SIZES, **words}), vocab_size=vocab_size)
    shake(model)
    return model.eval()


def difference(path: Path, model: Any, tokenizer: Tokenizer) -> Any:
    from clearhead.export.gguf_runtime import Gguf

    rows = [Row(ids) for ids in tokenizer.encode_batch(LINES[:2])]
    ends = {"ends": [2], "never": []}
    return compare_outputs(Ours(model, **ends), Gguf(path, model, tokenizer, **ends), rows)[0]


@pytest.mark.parametrize("architecture", KINDS)
def test_the_weights_come_back(architecture: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    model, path = gpt(tokenizer.vocab_size, **KINDS[architecture]), tmp_path / "model.gguf"
    write_gguf(path, model, tokenizer, name="small", quantize="f32")
    assert difference(path, model, tokenizer).max_abs < 1e-5
    write_gguf(path, model, tokenizer, name="small", quantize="q4_0")
    assert 1e-3 < difference(path, model, tokenizer).max_abs < 1
    for parameter in model.parameters():
        parameter.data *= 1.01  # the file is of the model before
    assert difference(path, model, tokenizer).max_abs > 1e-4


def test_an_encoder_has_its_states_and_our_heads(tmp_path: Path) -> None:
    config = TokenizerConfig(kind="wordpiece", vocab_size=80, specials="masked", lowercase=True)
    tokenizer = Tokenizer.train(LINES, config)
    torch.manual_seed(0)
    model = BertPretraining(BertConfig(**SIZES), vocab_size=tokenizer.vocab_size).eval()
    shake(model)
    write_gguf(tmp_path / "model.gguf", model, tokenizer, name="small", quantize="f32")
    assert difference(tmp_path / "model.gguf", model, tokenizer).max_abs < 1e-5


def test_a_tensor_that_is_not_as_in_its_other_place(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path, tensors_of = gpt(tokenizer.vocab_size), tmp_path / "model.gguf", writer.tensors_of

    def scaled(*words: Any) -> Any:
        tensors = tensors_of(*words)
        return {**tensors, "token_embd.weight": tensors["token_embd.weight"] * 1.01}

    with monkeypatch.context() as patched:
        patched.setattr(writer, "tensors_of", scaled)
        write_gguf(path, model, tokenizer, name="small", quantize="f32")
    with pytest.raises(ModelError, match=r"tensor 'token_embd\.weight' is not that of another place"):
        difference(path, model, tokenizer)
    other = gpt(tokenizer.vocab_size, n_layers=1)
    with pytest.raises(ModelError, match=r"tensor 'blk\.1\.\S*' is unknown"):
        difference(path, other, tokenizer)
    wider = gpt(tokenizer.vocab_size, d_ff=96)
    with pytest.raises(ModelError, match=r"tensor 'blk\.0\.ffn_up\.weight' has shape \[64, 32\], not \[96, 32\]"):
        difference(path, wider, tokenizer)


def test_gpt2s_rule_of_words_is_followed(tmp_path: Path) -> None:
    from clearhead.export.gguf_runtime import Gguf

    tokenizer = Tokenizer.train(LINES, TokenizerConfig(kind="byte_bpe", vocab_size=300))
    model = gpt(tokenizer.vocab_size)
    write_gguf(tmp_path / "model.gguf", model, tokenizer, name="small", quantize="f32")
    encoded = Gguf(tmp_path / "model.gguf", model, tokenizer, ends=[2], never=[]).encode(LINES[:2])
    assert encoded is not None
    assert [ids == tokenizer.encode(line) for ids, line in zip(encoded, LINES, strict=False)] == [True, False]
