"""GPT-2, Llama and Qwen3 of Hugging Face: converts ``config.json`` and tensors to our GPT and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from clearhead.config import Tree, parse
from clearhead.errors import ModelError, UsageError
from clearhead.interop.qk_norm import stretch, stretched, without_gains
from clearhead.interop.rope import read_rope, write_rope
from clearhead.interop.spelling import (
    ACTIVATIONS,
    THEIR_ACTIVATIONS,
    Rules,
    Spelling,
    Tensors,
    check,
    demand,
    tie,
    whole_number,
)
from clearhead.models.gpt import GPT, GPTConfig

_HEAD, _TABLE = "lm_head.weight", "embedding.tokens.weight"
_CONSTANTS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")  # masks and rates, which old files hold
_PLAIN_BLOCK: Rules = {
    "block.norm_position": ("pre",),
    "block.attention": ("scaled_dot_product",),
    "block.residual": (True,),
    "block.mlp": (True,),
}
GPT2 = Spelling(
    "gpt2",
    architecture="GPT2LMHeadModel",
    stem="transformer.",
    modules={
        "embedding.tokens": "transformer.wte",
        "embedding.position": "transformer.wpe",
        "layers": "transformer.h",
        "attn_norm": "ln_1",
        **dict.fromkeys(("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn.c_attn"),
        "attn.o_proj": "attn.c_proj",
        "mlp_norm": "ln_2",
        "mlp.up_proj": "mlp.c_fc",
        "mlp.down_proj": "mlp.c_proj",
        "norm": "transformer.ln_f",
        "lm_head": "lm_head",
    },
    fields={
        "d_model": "n_embd",
        "d_ff": "n_inner",
        "n_heads": "n_head",
        "n_layers": "n_layer",
        "max_seq_len": "n_positions",
        "dropout": "resid_pdrop",
        "embed_dropout": "embd_pdrop",
        "tie": "tie_word_embeddings",
        "block.attn_dropout": "attn_pdrop",
        "block.norm_eps": "layer_norm_epsilon",
        "block.activation": "activation_function",
    },
    defaults={"n_inner": None, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
    | {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1, "tie_word_embeddings": True},
    ours={"position": ("learned",), "block.norm": ("layer",), "block.bias": (True,), **_PLAIN_BLOCK}
    | {"block.activation": tuple(THEIR_ACTIVATIONS)},
    theirs={
        "activation_function": tuple(ACTIVATIONS),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "reorder_and_upcast_attn": (False,),
        "add_cross_attention": (False,),
    },
)
LLAMA = Spelling(
    "llama",
    architecture="LlamaForCausalLM",
    stem="model.",
    modules={
        "embedding.tokens": "model.embed_tokens",
        "layers": "model.layers",
        "attn_norm": "input_layernorm",
        **{f"attn.{part}_proj": f"self_attn.{part}_proj" for part in "qkvo"},
        "mlp_norm": "post_attention_layernorm",
        **{f"mlp.{part}_proj": f"mlp.{part}_proj" for part in ("gate", "up", "down")},
        "norm": "model.norm",
        "lm_head": "lm_head",
    },
    fields={
        "d_model": "hidden_size",
        "d_ff": "intermediate_size",
        "n_heads": "num_attention_heads",
        "n_kv_heads": "num_key_value_heads",
        "n_layers": "num_hidden_layers",
        "max_seq_len": "max_position_embeddings",
        "rotary_theta": "rope_theta",
        "tie": "tie_word_embeddings",
        "block.attn_dropout": "attention_dropout",
        "block.norm_eps": "rms_norm_eps",
        "block.bias": "attention_bias",
    },
    defaults={"num_key_value_heads": None, "attention_dropout": 0.0, "rms_norm_eps": 1e-6, "rope_theta": 10000.0}
    | {"attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False},
    ours={"position": ("rotary",), "block.norm": ("rms",), "block.activation": ("swiglu",), **_PLAIN_BLOCK},
    theirs={"hidden_act": ("silu", "swish"), "pretraining_tp": (1, None)},
)
QWEN3 = dataclasses.replace(  # Llama with normalized queries and keys
    LLAMA,
    name="qwen3",
    architecture="Qwen3ForCausalLM",
    defaults={**LLAMA.defaults, "head_dim": 128},
    ours={**LLAMA.ours, "block.attention": ("qk_norm",), "block.bias": (False,)},
    theirs={"hidden_act": ("silu", "swish"), "use_sliding_window": (False,)},
)
FAMILIES = {family.name: family for family in (GPT2, LLAMA, QWEN3)}


class GPTReport(NamedTuple):
    """What is known of a converted GPT besides config and tensors; tensors have the names of the original files."""

    vocab_size: int  # pieces of its vocabulary
    loaded: tuple[str, ...]  # tensors that became part of our model
    left: tuple[str, ...]  # tensors that were ignored, since they hold nothing learned


def gpt_from_hugging_face(config: Tree, tensors: Mapping[str, Tensor]) -> tuple[GPTConfig, Tensors, GPTReport]:
    """Converts a GPT-2, a Llama or a Qwen3 to our GPT.

    Args:
        config: its ``config.json``; missing keys have Hugging Face's defaults.
        tensors: its ``state_dict``, or the tensors of its files.

    Returns:
        Our config, the ``state_dict`` of ``GPT(config, vocab_size=report.vocab_size)``, and a report. Tensors that
        need not be transposed share memory with the given ones.

    Raises:
        ModelError: our GPT cannot express the config, or a tensor is missing, unknown or of another shape.
    """
    demand({"model_type": None, **config}, {"model_type": tuple(FAMILIES)}, "config.json: ")
    family = FAMILIES[config["model_type"]]
    ours, vocab_size = _our_config(family, config), whole_number(config, "vocab_size")
    stem = "" if any(name.startswith(family.stem) for name in tensors) else family.stem
    prefixed = {name if name == _HEAD else stem + name: tensor for name, tensor in tensors.items()}
    learned = {name: tensor for name, tensor in prefixed.items() if not name.endswith(_CONSTANTS)}
    if ours.tie:
        tie(learned, head=_HEAD, table=family.modules["embedding.tokens"] + ".weight")
    blank = _blank(ours, vocab_size)
    needed = family.respell(blank) | (_gains(ours) if family is QWEN3 else {})
    check(learned, needed)
    left, loaded = tuple(name for name in prefixed if name not in learned), tuple(learned)
    tensors = family.unspell(without_gains(learned) if family is QWEN3 else learned, blank)
    if family is QWEN3:
        tensors = stretched(tensors, 1 / stretch(ours.block.norm_eps))
    return ours, tensors, GPTReport(vocab_size, loaded, left)


def gpt_to_hugging_face(
    config: GPTConfig,
    tensors: Mapping[str, Tensor],
    *,
    vocab_size: int,
    bos_id: int | None = None,
    eos_id: int | list[int] | None = None,
    pad_id: int | None = None,
) -> tuple[Tree, Tensors]:
    """Converts our GPT to a Llama if its positions are rotary, to a Qwen3 if it has QK norm too, else to a GPT-2.

    Args:
        config: our config. Dropout rates that theirs lacks are left out; they do not change a trained model.
        tensors: our ``state_dict``; a tied output layer may be missing, as in a checkpoint.
        vocab_size: pieces of the vocabulary.
        bos_id: the piece that begins a text, or None.
        eos_id: the piece that ends a text, several such, or None.
        pad_id: padding, or None.

    Returns:
        A ``config.json``, and a ``state_dict``; a tied output layer is in it, as the same tensor as the table.

    Raises:
        ModelError: no class can express our config, or a tensor is missing, unknown or of another shape.
    """
    check_gpt(config)
    family = _family_of(config)
    tree = family.write(config)
    if family is GPT2:
        tree["activation_function"] = THEIR_ACTIVATIONS[config.block.activation]
        tree["embd_pdrop"] = config.dropout if config.embed_dropout is None else config.embed_dropout
    else:
        tree |= {"num_key_value_heads": config.n_kv_heads or config.n_heads, **write_rope(config)}
        tree |= {"head_dim": config.d_model // config.n_heads} if family is QWEN3 else {"mlp_bias": config.block.bias}
    state = dict(tensors)
    if config.tie:
        tie(state, head=_HEAD, table=_TABLE)
    check(state, _blank(config, vocab_size))
    ids = {"bos_token_id": bos_id, "eos_token_id": eos_id, "pad_token_id": pad_id}
    tree |= {"vocab_size": vocab_size, **ids}
    if family is QWEN3:
        return tree, family.respell(stretched(state, stretch(config.block.norm_eps))) | _gains(config)
    return tree, family.respell(state)


def check_gpt(config: GPTConfig) -> None:
    """Raises ModelError, with the key, if no GPT-2, Llama or Qwen3 computes what our GPT of ``config`` does."""
    family = _family_of(config)
    family.check(config)
    if family is GPT2:
        heads = config.n_kv_heads or config.n_heads
        demand({"n_kv_heads": heads}, {"n_kv_heads": (config.n_heads,)}, "Hugging Face's gpt2: model.")


def _family_of(config: GPTConfig) -> Spelling:
    if config.position != "rotary":
        return GPT2
    return QWEN3 if config.block.attention == "qk_norm" else LLAMA


def _gains(config: GPTConfig) -> Tensors:
    """Returns what Qwen3 multiplies normalized queries and keys with: 1."""
    gain = torch.ones(config.d_model // config.n_heads)
    stems = [f"model.layers.{number}.self_attn" for number in range(config.n_layers)]
    return {f"{stem}.{part}_norm.weight": gain.clone() for stem in stems for part in "qk"}


def _our_config(family: Spelling, config: Tree) -> GPTConfig:
    values: dict[str, Any] = {**family.defaults, **config}
    demand(values, family.theirs, "config.json: ")
    if family is GPT2:
        values["activation_function"] = ACTIVATIONS[values["activation_function"]]
        if values["n_inner"] is None and isinstance(values.get("n_embd"), int):
            values["n_inner"] = 4 * values["n_embd"]
    elif family is QWEN3:
        demand(values, {"attention_bias": (False,)}, "config.json: ")
        for kind in values.get("layer_types") or []:
            demand({"layer_types": kind}, {"layer_types": ("full_attention",)}, "config.json: ")
    else:
        demand(values, {"mlp_bias": (values["attention_bias"],)}, "config.json: ")
    try:  # a dropout rate that theirs lacks is 0
        tree = {"dropout": 0.0} | family.read(values) | (read_rope(values) if family is not GPT2 else {})
        ours = parse(GPTConfig, tree, source="config.json")
    except UsageError as error:
        raise ModelError(str(error)) from error
    default = (ours.d_model // ours.n_heads,) if family is QWEN3 else (None, ours.d_model // ours.n_heads)
    demand(values, {"head_dim": default}, "config.json: ")
    return ours


def _blank(config: GPTConfig, vocab_size: int) -> Tensors:
    """Returns our ``state_dict`` on the meta device: names and shapes without values."""
    with torch.device("meta"):
        return GPT(config, vocab_size=vocab_size).state_dict()
