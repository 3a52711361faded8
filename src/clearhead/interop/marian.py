"""Marian of Hugging Face: converts ``config.json``, tensors and tokenizers to our encoder-decoder and back."""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from clearhead.config import Tree, parse, shown
from clearhead.errors import ModelError, UsageError
from clearhead.files import read_json, read_small
from clearhead.interop.published import SETTINGS, added_names
from clearhead.interop.spelling import (
    ACTIVATIONS,
    THEIR_ACTIVATIONS,
    Rules,
    Tensors,
    check,
    demand,
    flattened,
    tie,
    whole_number,
)
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.text.adopted import MOST_ROWS, Adopted
from clearhead.text.special import SpecialIds
from clearhead.text.tokenizer import Tokenizer

SIDES = ("encoder", "decoder")
TABLES = ("model.shared.weight", "lm_head.weight", *(f"model.{side}.embed_tokens.weight" for side in SIDES))
OUR_TABLES = ("encoder.embedding.tokens.weight", "decoder.embedding.tokens.weight", "lm_head.weight")
BIAS, OUR_BIAS = "final_logits_bias", "lm_head.bias"
POSITIONS = tuple(f"model.{side}.embed_positions.weight" for side in SIDES)
MODULES = {
    **{f"attn.{name}_proj": f"self_attn.{name}_proj" for name in "qkv"},
    "attn.o_proj": "self_attn.out_proj",
    "attn_post_norm": "self_attn_layer_norm",
    **{f"cross_attn.{name}_proj": f"encoder_attn.{name}_proj" for name in "qkv"},
    "cross_attn.o_proj": "encoder_attn.out_proj",
    "cross_attn_post_norm": "encoder_attn_layer_norm",
    "mlp.up_proj": "fc1",
    "mlp.down_proj": "fc2",
    "mlp_post_norm": "final_layer_norm",
}
FIELDS = {
    "d_model": "d_model",
    "d_ff": "encoder_ffn_dim",
    "n_heads": "encoder_attention_heads",
    "n_encoder_layers": "encoder_layers",
    "n_decoder_layers": "decoder_layers",
    "max_seq_len": "max_position_embeddings",
    "dropout": "dropout",
    "block.attn_dropout": "attention_dropout",
    "block.mlp_dropout": "activation_dropout",
}
DEFAULTS = {"dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0, "activation_function": "gelu"}
MARIAN_ACTIVATIONS = {**ACTIVATIONS, "swish": "silu"}
THEIRS: Rules = {
    "model_type": ("marian",),
    "scale_embedding": (True,),
    "share_encoder_decoder_embeddings": (True,),
    "tie_word_embeddings": (True,),
    "is_encoder_decoder": (True,),
    "normalize_before": (False,),
    "normalize_embedding": (False,),
    "add_final_layer_norm": (False,),
    "static_position_embeddings": (True,),
    "activation_function": tuple(MARIAN_ACTIVATIONS),
}
OURS: Rules = {
    "position": ("sinusoidal",),
    "tie": ("all",),
    "block.norm": ("layer",),
    "block.norm_position": ("post",),
    "block.norm_eps": (1e-5,),
    "block.attention": ("scaled_dot_product",),
    "block.bias": (True, "all"),
    "block.residual": (True,),
    "block.mlp": (True,),
    "block.activation": tuple(THEIR_ACTIVATIONS),
}
MARKS = {"pad": "pad_token_id", "bos": "decoder_start_token_id", "eos": "eos_token_id"}
FILES = ("source.spm", "target.spm", "vocab.json")


class MarianReport(NamedTuple):
    """What is known of a converted Marian besides config and tensors; tensors have the names of the original files."""

    vocab_size: int  # pieces of its vocabulary
    loaded: tuple[str, ...]  # tensors that became part of our model
    left: tuple[str, ...]  # tables of positions, which were ignored: our model computes its own


def marian_from_hugging_face(
    config: Tree, tensors: Mapping[str, Tensor]
) -> tuple[TransformerConfig, Tensors, MarianReport]:
    """Converts a Marian to our encoder-decoder.

    Marian's positions have all sines before all cosines, ours alternate; so the features of the hidden states are
    reordered, and the results stay the same.

    Args:
        config: its ``config.json``; missing keys have Hugging Face's defaults.
        tensors: its ``state_dict``, or the tensors of its files.

    Returns:
        Our config, the ``state_dict`` of ``Transformer``, and a report.

    Raises:
        ModelError: our model cannot express the config, or a tensor is missing, unknown or of another shape.
    """
    values: dict[str, Any] = {**DEFAULTS, **config}
    demand({"model_type": None, "scale_embedding": False, **values}, THEIRS, "config.json: ")
    vocab_size = whole_number(config, "vocab_size")
    for name in FIELDS.values():
        if name not in values:
            raise ModelError(f"config.json: {name} is missing")
    same = {"decoder_ffn_dim": values["encoder_ffn_dim"], "decoder_attention_heads": values["encoder_attention_heads"]}
    demand(values, {name: (value,) for name, value in same.items()}, "config.json: ")
    demand(values, {"decoder_vocab_size": (None, vocab_size)}, "config.json: ")
    our_config = _our_config(values, biased=BIAS in tensors)
    theirs = {name: tensor for name, tensor in tensors.items() if name not in POSITIONS}
    table = next((name for name in TABLES if name in theirs), TABLES[0])
    for name in TABLES:
        tie(theirs, head=name, table=table)
    blank = blank_transformer(our_config, vocab_size)
    expected = {_their_name(own): tensor for own, tensor in blank.items() if own not in OUR_TABLES}
    if BIAS in expected:
        expected[BIAS] = expected[BIAS][None]
    check(theirs, expected | dict.fromkeys(TABLES, blank["lm_head.weight"]))
    order, names = _order(our_config.d_model), [own for own in blank if own not in (*OUR_TABLES, OUR_BIAS)]
    ours = {own: _reordered(own, theirs[_their_name(own)], order) for own in names}
    if BIAS in theirs:
        ours[OUR_BIAS] = theirs[BIAS][0].clone()
    ours |= dict.fromkeys(OUR_TABLES, theirs[TABLES[0]][:, order])
    loaded = tuple(name for name in tensors if name in theirs)
    return our_config, ours, MarianReport(vocab_size, loaded, left=tuple(tensors.keys() - theirs.keys()))


def marian_to_hugging_face(
    config: TransformerConfig, tensors: Mapping[str, Tensor], *, vocab_size: int, ids: SpecialIds
) -> tuple[Tree, Tensors]:
    """Converts our encoder-decoder to a Marian.

    Args:
        config: our config. Dropout rates that theirs lacks are left out; they do not change a trained model.
        tensors: our ``state_dict``; a tied table may be there under one name only, as in a checkpoint.
        vocab_size: pieces of the joint vocabulary.
        ids: the special pieces.

    Returns:
        A ``config.json``, and a ``state_dict``.

    Raises:
        ModelError: no Marian can express our config, or a tensor is missing, unknown or of another shape.
    """
    check_marian(config)
    state, flat = checked_state(config, tensors, vocab_size), flattened(config)
    order, names = _order(config.d_model).argsort(), [own for own in state if own not in (*OUR_TABLES, OUR_BIAS)]
    theirs = {_their_name(own): _reordered(own, state[own], order) for own in names}
    bias = state[OUR_BIAS] if OUR_BIAS in state else torch.zeros(vocab_size)
    theirs = {TABLES[0]: state[OUR_TABLES[0]][:, order], BIAS: bias[None], **theirs}
    tree: Tree = {name: flat[own] for own, name in FIELDS.items()}
    tree |= {name: allowed[0] for name, allowed in THEIRS.items() if name != "activation_function"}
    tree |= {"architectures": ["MarianMTModel"], "vocab_size": vocab_size, "decoder_vocab_size": vocab_size}
    tree |= {"decoder_ffn_dim": config.d_ff, "decoder_attention_heads": config.n_heads}
    tree["activation_function"] = THEIR_ACTIVATIONS[config.block.activation]
    marks = {key: getattr(ids, role) for role, key in MARKS.items()}
    return tree | marks | {"bos_token_id": None, "forced_eos_token_id": None}, theirs


def checked_state(config: TransformerConfig, tensors: Mapping[str, Tensor], vocab_size: int) -> Tensors:
    """Returns the ``state_dict`` of an encoder-decoder whose tied table may be there under one name only.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape.
    """
    state = dict(tensors)
    for name in OUR_TABLES:
        tie(state, head=name, table=OUR_TABLES[0])
    check(state, blank_transformer(config, vocab_size))
    return state


def check_marian(config: TransformerConfig) -> None:
    """Raises ModelError, with the key, if no Marian computes what our encoder-decoder of ``config`` does."""
    flat = flattened(config) | {"n_kv_heads": config.n_kv_heads or config.n_heads}
    demand(flat, {**OURS, "n_kv_heads": (config.n_heads,)}, "Hugging Face's marian: model.")


def read_marian_tokenizers(folder: Path, config: Tree, vocab_size: int) -> tuple[Tokenizer, Tokenizer]:
    """Reads ``source.spm`` and ``target.spm``, which segment the two languages, and ``vocab.json``, the ids of both.

    Raises:
        ModelError: a file is missing or damaged, or our tokenizer cannot segment as the file says.
    """
    numbers = read_json(folder / "vocab.json")
    if not all(type(index) is int for index in numbers.values()) or not numbers:
        raise ModelError(f"{str(folder / 'vocab.json')!r} is not a table of pieces and ids")
    for piece in numbers:
        if re.fullmatch(r">>.+<<", piece):
            raise ModelError(
                f"{str(folder)!r}: vocab.json has the language code {piece!r}: a model of two languages is needed"
            )
    for piece in added_names(folder):
        if piece not in numbers:
            raise ModelError(f"{str(folder)!r} adds the piece {piece!r}: must be in vocab.json")
    if "<unk>" not in numbers:
        raise ModelError(f"{str(folder)!r}: vocab.json has no <unk>")
    ids = SpecialIds(**{role: whole_id(config, key) for role, key in MARKS.items()}, unk=numbers["<unk>"])
    adopted_tokenizers = []
    for name in FILES[:2]:
        if not (folder / name).is_file():
            raise ModelError(f"{str(folder)!r} has no tokenizer: {', '.join(FILES)}, or tokenizer.json is needed")
        segmenter = base64.b64encode(_segmenter(folder / name)).decode()
        adopted = Adopted("", ids, ids.eos, False, vocab_size, segmenter=segmenter, numbers=numbers)
        try:
            adopted.build()
        except ValueError as error:
            raise ModelError(f"{str(folder / name)!r}: {error}") from error
        adopted_tokenizers.append(Tokenizer.adopt(adopted))
    src, tgt = adopted_tokenizers
    return src, tgt


def _segmenter(path: Path) -> bytes:
    try:
        return read_small(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def write_marian_tokenizers(src: Tokenizer, tgt: Tokenizer, *, languages: tuple[str, str]) -> dict[str, str | bytes]:
    """Returns the files of two tokenizers that ``read_marian_tokenizers`` has read: file name -> content."""
    files: dict[str, str | bytes] = {}
    for name, tokenizer in zip(FILES[:2], (src, tgt), strict=True):
        assert isinstance(tokenizer.source, Adopted)
        files[name] = base64.b64decode(tokenizer.source.segmenter)
        files[FILES[2]] = json.dumps(tokenizer.source.numbers, ensure_ascii=False) + "\n"
    settings: Tree = {"tokenizer_class": "MarianTokenizer", "source_lang": languages[0], "target_lang": languages[1]}
    settings["split_special_tokens"] = True  # the name of a special piece in a text is ordinary text, as here
    specials = {"pad_token": tgt.ids.pad, "eos_token": tgt.ids.eos, "unk_token": tgt.ids.unk}
    settings |= {name: tgt.piece(index) for name, index in specials.items()}
    return {**files, SETTINGS: json.dumps(settings, ensure_ascii=False, indent=2) + "\n"}


def whole_id(config: Tree, key: str) -> int:
    """Returns the id of a special piece from a ``config.json``; raises ModelError if ``key`` has no id."""
    index = config.get(key)
    index = index[0] if isinstance(index, list) and len(index) == 1 else index
    if type(index) is not int or not 0 <= index < MOST_ROWS:
        raise ModelError(f"config.json: {key} = {shown(index)}: must be an id")
    return index


def _our_config(values: Mapping[str, Any], *, biased: bool) -> TransformerConfig:
    flat = {own: allowed[0] for own, allowed in OURS.items()} | {own: values[name] for own, name in FIELDS.items()}
    flat["block.activation"] = MARIAN_ACTIVATIONS[values["activation_function"]]
    flat["block.bias"] = "all" if biased else True
    block = {own.removeprefix("block."): value for own, value in flat.items() if "." in own}
    tree = {own: value for own, value in flat.items() if "." not in own} | {"block": block}
    try:
        return parse(TransformerConfig, tree, source="config.json")
    except UsageError as error:
        raise ModelError(str(error)) from error


def _their_name(own: str) -> str:
    """Returns their name of one of our tensors."""
    if own == OUR_BIAS:
        return BIAS
    side, _, number, rest = own.split(".", 3)
    module, _, kind = rest.rpartition(".")
    return f"model.{side}.layers.{number}.{MODULES[module]}.{kind}"


def _order(d_model: int) -> Tensor:
    """Returns the index among their features of each of ours."""
    return torch.arange(d_model).view(2, -1).T.reshape(-1)


def _reordered(own: str, tensor: Tensor, order: Tensor) -> Tensor:
    """Reorders the axis of our tensor ``own`` that belongs to hidden states.

    It is the output of norms and of the last projection of a branch, and the input of all other projections.
    """
    module = own.rpartition(".")[0]
    if module.endswith(("o_proj", "down_proj", "norm")):
        return tensor[order]
    return tensor[:, order] if tensor.dim() == 2 else tensor


def blank_transformer(config: TransformerConfig, vocab_size: int) -> Tensors:
    """Returns our ``state_dict`` on the meta device: names and shapes without values."""
    with torch.device("meta"):
        return Transformer(config, src_vocab_size=vocab_size, vocab_size=vocab_size).state_dict()
