"""How ``config.json`` of Llama says that positions rotate, read with the precedence of transformers, and written."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, get_args

from clearhead.config import Tree, parse
from clearhead.errors import ModelError, UsageError
from clearhead.models.gpt import GPTConfig
from clearhead.nn.position import RotaryScalingConfig, RotaryScalingName

_TABLES = ("rope_scaling", "rope_parameters")  # the first that is there and not empty counts
_ORIGINAL = "original_max_position_embeddings"
# our key -> theirs; those that theirs needs for a kind stand in _NEEDED
_KEYS = {
    "factor": "factor",
    "original_max_seq_len": _ORIGINAL,
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    **{name: name for name in ("beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim", "truncate")},
}
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": (),
}
_READ: Mapping[str, tuple[str, ...]] = {
    **_NEEDED,
    "llama3": ("factor", _ORIGINAL, "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor", _ORIGINAL, *list(_KEYS.values())[4:]),
}


def read_rope(config: Tree) -> Tree:
    """Returns the keys of our ``GPTConfig`` that say how positions rotate, and how many there are.

    ``rope_scaling`` comes before ``rope_parameters``, and what stands inside of either before ``rope_theta`` beside it.
    Theirs has no limit of length: ``linear`` and ``dynamic`` read ``factor`` times the ``max_position_embeddings`` that
    the model was pretrained with, and ``yarn`` that many times its original length.

    Raises:
        ModelError: a kind or value that our rotary positions do not have; the message names the key.
    """
    key = next((table for table in _TABLES if config.get(table)), _TABLES[-1])
    rope, length = config.get(key) or {}, config["max_position_embeddings"]
    if not isinstance(rope, Mapping):
        raise ModelError(f"config.json: {key} = {rope!r}: must be a table")
    kind, kinds = rope.get("rope_type", rope.get("type", "default")), ("default", *get_args(RotaryScalingName))
    for inner in ("rope_type", "type"):
        if inner in rope and kind not in kinds:
            raise ModelError(f"config.json: {key}.{inner} = {kind!r}: must be {' or '.join(map(repr, kinds))}")
    nested = next((name for name, value in rope.items() if isinstance(value, Mapping)), None)
    if nested is not None:
        raise ModelError(f"config.json: {key}.{nested} is a table: layers of one model may not rotate differently")
    share = rope.get("partial_rotary_factor", config.get("partial_rotary_factor"))
    if share not in (None, 1.0):
        raise ModelError(f"config.json: partial_rotary_factor = {share!r}: must be 1.0, all of a head rotates")
    theta = rope.get("rope_theta", config.get("rope_theta", GPTConfig.rotary_theta))
    if type(theta) not in (int, float) or theta <= 0:
        raise ModelError(f"config.json: rope_theta = {theta!r}: must be a number above 0")
    tree: Tree = {"rotary_theta": float(theta), "rotary_scaling": None, "max_seq_len": length}
    if kind == "default" or type(length) is not int:
        return tree
    scaling = _scaling(config, rope, kind, key)
    original = scaling.original_max_seq_len or length
    longest = length if kind == "llama3" else max(length, int(scaling.factor * original))
    return tree | {"rotary_scaling": asdict(scaling), "max_seq_len": longest}


def write_rope(config: GPTConfig) -> Tree:
    """Returns the keys of their ``config.json`` for our rotary positions, for old and new versions of their library."""
    scaling, theta = config.rotary_scaling, config.rotary_theta
    tree: Tree = {"rope_theta": theta, "max_position_embeddings": config.max_seq_len}
    if scaling is None:
        return tree | {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    if scaling.kind in ("linear", "dynamic"):
        tree["max_position_embeddings"] = scaling.original_max_seq_len or config.max_seq_len
    values, plain = asdict(scaling), asdict(RotaryScalingConfig(scaling.kind))
    values["original_max_seq_len"] = scaling.original_max_seq_len or config.max_seq_len
    always = {"factor", *_NEEDED[scaling.kind], _ORIGINAL}
    written = {
        name: values[own]
        for own, name in _KEYS.items()
        if name in _READ[scaling.kind] and (name in always or values[own] != plain[own])
    }
    old = {"rope_type": scaling.kind, **written}
    return tree | {"rope_scaling": old, "rope_parameters": {**old, "rope_theta": theta}}


def _scaling(config: Tree, rope: Mapping[str, Any], kind: str, key: str) -> RotaryScalingConfig:
    values = {own: rope.get(name) for own, name in _KEYS.items() if name in _READ[kind]}
    for name in _NEEDED[kind]:
        if rope.get(name) is None:
            raise ModelError(f"config.json: {key}.{name} is missing: rope_type {kind!r} needs it")
    length = config["max_position_embeddings"]
    outer = config.get(_ORIGINAL)  # beside the table it comes first, as in their library
    values["original_max_seq_len"] = length
    if _ORIGINAL in _READ[kind]:
        values["original_max_seq_len"] = rope.get(_ORIGINAL, length) if outer is None else outer
    if kind == "yarn":  # 0 is their default here, as None is
        values |= {name: values[name] or None for name in ("beta_fast", "beta_slow", "mscale", "mscale_all_dim")}
        if values["factor"] is None and type(values["original_max_seq_len"]) is int:
            values["factor"] = length / max(values["original_max_seq_len"], 1)
    given = {own: value for own, value in values.items() if value is not None}
    try:
        return parse(RotaryScalingConfig, {"kind": kind, **given}, source=f"config.json: {key}")
    except UsageError as error:
        raise ModelError(str(error)) from error
