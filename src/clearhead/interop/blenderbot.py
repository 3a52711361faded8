"""Blenderbot of Hugging Face, the one class there with pre-norm layers and no norm of embeddings: ours to theirs.

It was published for conversations, but what it computes is the pre-norm encoder-decoder: layer norms before each
sublayer and after the last layer, biases, tables of positions, embeddings times sqrt(d_model). mBART and M2M100 have a
norm of embeddings or positions of their own; Pegasus reads a table of sines that its older versions compute anew.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from clearhead.config import Tree
from clearhead.interop.marian import (
    BIAS,
    FIELDS,
    MARKS,
    MODULES,
    OUR_BIAS,
    OUR_TABLES,
    POSITIONS,
    SIDES,
    TABLES,
    checked_state,
)
from clearhead.interop.spelling import THEIR_ACTIVATIONS, Rules, Tensors, demand, flattened
from clearhead.models.transformer import TransformerConfig
from clearhead.nn.position import sinusoidal_table
from clearhead.text.special import SpecialIds

_OURS: Rules = {
    "position": ("sinusoidal", "learned", "none"),
    "tie": ("all",),
    "block.norm": ("layer",),
    "block.norm_position": ("pre",),
    "block.norm_eps": (1e-5,),
    "block.attention": ("scaled_dot_product",),
    "block.bias": (True, "all"),
    "block.residual": (True,),
    "block.mlp": (True,),
    "block.activation": tuple(THEIR_ACTIVATIONS),
}
_MODULES = {own.replace("_post_norm", "_norm"): theirs for own, theirs in MODULES.items()}
_FIXED: Tree = {
    "model_type": "blenderbot",
    "architectures": ["BlenderbotForConditionalGeneration"],
    "is_encoder_decoder": True,
    "scale_embedding": True,
    "tie_word_embeddings": True,
    # what their class would add to every translation
    "forced_eos_token_id": None,
    "encoder_no_repeat_ngram_size": 0,
}


def check_blenderbot(config: TransformerConfig) -> None:
    """Raises ModelError, with the key, if no Blenderbot computes what our encoder-decoder of ``config`` does."""
    demand(flattened(config), _OURS, "Hugging Face's blenderbot: model.")


def blenderbot_to_hugging_face(
    config: TransformerConfig, tensors: Mapping[str, Tensor], *, vocab_size: int, ids: SpecialIds
) -> tuple[Tree, Tensors]:
    """Converts our pre-norm encoder-decoder to a Blenderbot.

    Positions become its tables, whatever they were here, and grouped keys and values are repeated for each head.

    Args:
        config: our config. Dropout rates that theirs lacks are left out; they do not change a trained model.
        tensors: our ``state_dict``; a tied table may be there under one name only, as in a checkpoint.
        vocab_size: pieces of the joint vocabulary.
        ids: the special pieces.

    Returns:
        A ``config.json``, and a ``state_dict``.

    Raises:
        ModelError: no Blenderbot can express our config, or a tensor is missing, unknown or of another shape.
    """
    check_blenderbot(config)
    state, flat = checked_state(config, tensors, vocab_size), flattened(config)
    bias = state.pop(OUR_BIAS, torch.zeros(vocab_size))
    theirs = {TABLES[0]: state[OUR_TABLES[0]], BIAS: bias[None]}
    theirs |= {name: _places(config, state, side) for name, side in zip(POSITIONS, SIDES, strict=True)}
    apart = (*OUR_TABLES, *(_place_name(side) for side in SIDES))
    theirs |= {_their_name(own): _ungrouped(own, tensor, config) for own, tensor in state.items() if own not in apart}
    tree: Tree = {name: flat[own] for own, name in FIELDS.items()} | _FIXED
    tree |= {"decoder_ffn_dim": config.d_ff, "decoder_attention_heads": config.n_heads, "vocab_size": vocab_size}
    tree |= {"activation_function": THEIR_ACTIVATIONS[config.block.activation], "bos_token_id": ids.bos}
    return tree | {key: getattr(ids, role) for role, key in MARKS.items()}, theirs


def _place_name(side: str) -> str:
    return f"{side}.embedding.position.weight"


def _places(config: TransformerConfig, state: Mapping[str, Tensor], side: str) -> Tensor:
    """Returns the table of what is added at each position of a side."""
    match config.position:
        case "learned":
            return state[_place_name(side)].clone()
        case "sinusoidal":
            return sinusoidal_table(config.max_seq_len, config.d_model)
        case _:
            return torch.zeros(config.max_seq_len, config.d_model)


def _ungrouped(own: str, tensor: Tensor, config: TransformerConfig) -> Tensor:
    """Repeats the rows of each head of keys or values for the heads of queries that share it."""
    kv_heads = config.n_kv_heads or config.n_heads
    if kv_heads == config.n_heads or (".k_proj." not in own and ".v_proj." not in own):
        return tensor
    heads = tensor.view(kv_heads, -1, *tensor.shape[1:])  # kv_heads head_dim [features]
    return heads.repeat_interleave(config.n_heads // kv_heads, dim=0).reshape(-1, *tensor.shape[1:])


def _their_name(own: str) -> str:
    """Returns their name of one of our tensors."""
    side, _, rest = own.partition(".")
    if not rest.startswith("layers."):
        return f"model.{side}.layer_norm.{rest.removeprefix('norm.')}"
    _, number, inside = rest.split(".", 2)
    module, _, kind = inside.rpartition(".")
    return f"model.{side}.layers.{number}.{_MODULES[module]}.{kind}"
