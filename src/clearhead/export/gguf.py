"""GGUF, the one file of llama.cpp: a GPT or a BERT with its tokenizer, by the architecture that computes the same.

| our model | architecture |
|---|---|
| GPT: learned positions, layer norm, biases, gelu_tanh | gpt2 |
| GPT: rotary, RMS norm, SwiGLU, no biases | llama, its queries and keys in the order of pairs |
| the same with normalized queries and keys | qwen3 |
| BERT: learned positions, layer norm after each sum, gelu | bert |

Everything else is refused by the key of our config. Tensor names and keys are those of ``gguf-py`` 0.19.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from clearhead.errors import ModelError
from clearhead.export.gguf_tokenizer import Vocabulary, check_vocabulary, vocabulary
from clearhead.export.runtime import OneStack
from clearhead.interop.qk_norm import stretched_linear
from clearhead.interop.spelling import Rules, demand, flattened
from clearhead.models.bert import Bert, BertClassifier, BertConfig, BertPretraining, Pooling
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.transformer import TransformerConfig
from clearhead.nn.attention import Attention
from clearhead.nn.layer import Layer
from clearhead.nn.mlp import GatedMLP
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

Quantization = Literal["f32", "f16", "q8_0", "q4_0", "q5_0"]
Architecture = Literal["gpt2", "llama", "qwen3", "bert"]
Tensors = dict[str, Tensor]
Keys = dict[str, int | float | bool | str]

_FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "q5_0": 8}
_BLOCK = 32  # numbers that share a scale
_POOLED = {"mean": 1, "first": 2}
_EVERY: Rules = {"block.residual": (True,), "block.mlp": (True,)}
_ROTARY: Rules = {
    **_EVERY,
    "position": ("rotary",),
    "block.norm": ("rms",),
    "block.norm_position": ("pre",),
    "block.activation": ("swiglu",),
    "block.bias": (False,),
}
_RULES: Mapping[Architecture, Rules] = {
    "gpt2": {
        **_EVERY,
        "position": ("learned",),
        "block.norm": ("layer",),
        "block.norm_position": ("pre",),
        "block.activation": ("gelu_tanh",),
        "block.attention": ("scaled_dot_product",),
        "block.bias": (True,),
    },
    "llama": {**_ROTARY, "block.attention": ("scaled_dot_product",)},
    "qwen3": {**_ROTARY, "block.attention": ("qk_norm",)},
    "bert": {
        **_EVERY,
        "position": ("learned",),
        "block.norm": ("layer",),
        "block.norm_position": ("post",),
        "block.activation": ("gelu",),
        "block.attention": ("scaled_dot_product",),
        "block.bias": (True, "all"),
    },
}


def write_gguf(
    path: Path,
    model: OneStack,
    tokenizer: Tokenizer,
    *,
    name: str,
    quantize: Quantization,
    pooling: Pooling = "mean",
) -> None:
    """Writes a model as one GGUF file.

    Args:
        path: the file, which is replaced.
        model: in evaluation mode. Of a BERT with heads the encoder is written.
        tokenizer: whose pieces the model reads.
        name: of the model, for people.
        quantize: how matrices are stored whose rows are whole blocks of 32 numbers; the rest is stored in float32.
        pooling: what embeds a text, of a BERT.

    Raises:
        ModelError: llama.cpp cannot compute this model or read with this tokenizer; the message names the key. Or the
            package gguf is not installed.
    """
    encoder = model.bert if isinstance(model, BertPretraining | BertClassifier) else model
    architecture = architecture_of(encoder.config)
    words = vocabulary(tokenizer)
    try:
        import gguf
    except ImportError as error:
        raise ModelError("export --to gguf: needs the package gguf; pip install 'clearhead[gguf]'") from error
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_file_type(_FILE_TYPES[quantize])
    for key, value in _keys(encoder, architecture, pooling).items():
        _add(writer, f"{architecture}.{key}", value)
    _add_vocabulary(writer, words)
    for own, tensor in tensors_of(encoder, architecture, words).items():
        kind = _kind(own, tensor, quantize)
        values = tensor.detach().float().contiguous().numpy()
        stored = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind.upper()])
        writer.add_tensor(own, stored, raw_dtype=gguf.GGMLQuantizationType[kind.upper()])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check_gguf(config: object, tokenizer: TokenizerConfig) -> None:
    """Raises ModelError, with the key, if llama.cpp has no such model, or does not read with such a tokenizer."""
    if isinstance(config, TransformerConfig):
        raise ModelError("GGUF: llama.cpp has no such encoder-decoder; take --to ctranslate2")
    if not isinstance(config, GPTConfig | BertConfig):
        raise ModelError("--to gguf takes Transformers alone")
    architecture_of(config)
    check_vocabulary(tokenizer)


def architecture_of(config: GPTConfig | BertConfig) -> Architecture:
    """Returns the architecture of llama.cpp that computes the same; raises ModelError with the key that none has."""
    architecture: Architecture = "bert"
    if isinstance(config, GPTConfig):
        architecture = "gpt2" if config.position == "learned" else "llama"
        if architecture == "llama" and config.block.attention == "qk_norm":
            architecture = "qwen3"
    heads: Rules = {"n_kv_heads": (None, config.n_heads)} if architecture in ("gpt2", "bert") else {}
    scaling: Rules = {"rotary_scaling": (None,)} if isinstance(config, GPTConfig) else {}
    demand(flattened(config), {**_RULES[architecture], **heads, **scaling}, f"GGUF's {architecture}: model.")
    return architecture


def tensors_of(model: GPT | Bert, architecture: Architecture, words: Vocabulary) -> Tensors:
    """Returns the tensors by GGUF's names, with a row of the tables for every piece of ``words``."""
    tensors = {"token_embd.weight": _widened(model.embedding.tokens.weight, words)}
    if isinstance(model.embedding.position, nn.Module):
        place = model.embedding.position.weight
        assert isinstance(place, Tensor)
        tensors["position_embd.weight"] = place
    if isinstance(model, Bert):
        tensors["token_types.weight"] = model.embedding.segments.weight
        tensors |= _norm("token_embd_norm", model.embedding.norm)
    else:
        tensors |= _norm("output_norm", model.norm)
        tensors["output.weight"] = _widened(model.lm_head.weight, words)
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        tensors |= {
            f"blk.{number}.{own}": tensor for own, tensor in _layer(layer, architecture, model.config.block.norm_eps)
        }
    return tensors


def _layer(layer: Layer, architecture: Architecture, eps: float) -> Iterator[tuple[str, Tensor]]:
    attn, mlp = layer.attn, layer.mlp
    assert mlp is not None, "refused before"
    if architecture == "gpt2":
        yield from _linear("attn_qkv", attn.q_proj, attn.k_proj, attn.v_proj)
    else:
        yield from _linear("attn_v", attn.v_proj)
        for own, linear, heads in (("attn_q", attn.q_proj, attn.n_heads), ("attn_k", attn.k_proj, attn.n_kv_heads)):
            for name, tensor in _linear(own, stretched_linear(linear, eps) if attn.qk_norm else linear):
                yield name, _in_pairs(tensor, heads) if architecture == "llama" else tensor
    if architecture == "qwen3":
        yield from ((f"attn_{own}_norm.weight", torch.ones(attn.head_dim)) for own in "qk")
    yield from _linear("attn_output", attn.o_proj)
    first, second = ("attn_output_norm", "layer_output_norm") if architecture == "bert" else ("attn_norm", "ffn_norm")
    after = architecture == "bert"
    yield from _norm(first, layer.attn_post_norm if after else layer.attn_norm).items()
    yield from _norm(second, layer.mlp_post_norm if after else layer.mlp_norm).items()
    if isinstance(mlp, GatedMLP):
        yield from _linear("ffn_gate", mlp.gate_proj)
    yield from _linear("ffn_up", mlp.up_proj)
    yield from _linear("ffn_down", mlp.down_proj)


def _in_pairs(rows: Tensor, heads: int) -> Tensor:
    """Reorders the features of each head: ours rotate the first half with the second, theirs neighbours."""
    halves = rows.view(heads, 2, -1, *rows.shape[1:])  # heads halves pairs [features]
    return halves.transpose(1, 2).reshape(rows.shape)


def _linear(own: str, *layers: nn.Linear) -> Iterator[tuple[str, Tensor]]:
    yield f"{own}.weight", torch.cat([layer.weight for layer in layers])
    if layers[0].bias is not None:
        yield f"{own}.bias", torch.cat([layer.bias for layer in layers])


def _norm(own: str, norm: nn.Module) -> Tensors:
    gain, bias = norm.weight, norm.bias
    assert isinstance(gain, Tensor)
    return {f"{own}.weight": gain, **({f"{own}.bias": bias} if isinstance(bias, Tensor) else {})}


def _widened(table: Tensor, words: Vocabulary) -> Tensor:
    """Adds a copy of the unknown piece's row for each byte that their vocabulary must have."""
    more = len(words.pieces) - len(table)
    return torch.cat([table, table[words.unk : words.unk + 1].expand(more, -1)]) if more else table


def _keys(model: GPT | Bert, architecture: Architecture, pooling: Pooling) -> Keys:
    config = model.config
    keys: Keys = {
        "context_length": config.max_seq_len,
        "embedding_length": config.d_model,
        "block_count": config.n_layers,
        "feed_forward_length": config.d_ff,
        "attention.head_count": config.n_heads,
    }
    if architecture in ("gpt2", "bert"):
        keys["attention.layer_norm_epsilon"] = float(config.block.norm_eps)
    else:
        attn = _first(model).attn
        keys["attention.head_count_kv"] = attn.n_kv_heads
        keys["attention.layer_norm_rms_epsilon"] = float(config.block.norm_eps)
        keys["attention.key_length"] = keys["attention.value_length"] = attn.head_dim
        keys["rope.dimension_count"] = attn.head_dim
        keys["rope.freq_base"] = float(getattr(config, "rotary_theta", 10000.0))
    if architecture == "bert":
        keys["attention.causal"] = False
        keys["pooling_type"] = _POOLED[pooling]
    return keys


def _first(model: GPT | Bert) -> Layer:
    layer = model.layers[0]
    assert isinstance(layer, Layer)
    assert isinstance(layer.attn, Attention)
    return layer


def _kind(own: str, tensor: Tensor, quantize: Quantization) -> str:
    """Returns how a tensor is stored: whole where it is no matrix of products, or its rows are no whole blocks."""
    apart = own.startswith(("position_embd", "token_types")) or tensor.ndim < 2
    whole = quantize != "f16" and tensor.shape[-1] % _BLOCK != 0
    return "f32" if apart or whole else quantize


def _add(writer: Any, key: str, value: int | float | bool | str) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)


def _add_vocabulary(writer: Any, words: Vocabulary) -> None:
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.pieces)
    writer.add_token_types(words.types)
    if words.scores:
        writer.add_token_scores(words.scores)
    if words.merges:
        writer.add_token_merges(words.merges)
    for key, value in words.settings.items():
        _add(writer, f"tokenizer.ggml.{key}", value)
