"""Generation settings of a folder: ``generation_config.json`` before ``config.json``, as transformers reads them."""

import json
from collections.abc import Sequence
from pathlib import Path

from clearhead.config import Tree
from clearhead.errors import ModelError
from clearhead.files import read_json
from clearhead.interop.folder import CONFIG
from clearhead.text.special import ABSENT, SpecialIds

FILE = "generation_config.json"
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
# what their classes take where config.json names no end mark
_DEFAULT_ENDS = {"gpt2": 50256, "llama": 2, "qwen3": None}
# keys that say nothing about which texts come: ids, versions, and what our own verbs have options for anyway
_SILENT = {*_IDS, "transformers_version", "_from_model_config", "forced_eos_token_id", "use_cache", "max_length"}
_PLAIN = {"do_sample": False, "num_beams": 1}  # how our verbs write too, unless they are told otherwise


def with_generation(folder: Path, config: Tree) -> Tree:
    """Returns ``config.json`` with the ids of ``generation_config.json`` over its own."""
    if not (folder / FILE).is_file():
        return config
    settings = read_json(folder / FILE)
    return {**config, **{key: settings.get(key) for key in _IDS if key in settings or key == "eos_token_id"}}


def ends_of(folder: Path, config: Tree, vocab_size: int) -> tuple[int, ...]:
    """Returns the ids of which each ends a text; none where the folder names none, or the model writes no text.

    Raises:
        ModelError: one of them is no id.
    """
    kind = str(config.get("model_type"))
    said = with_generation(folder, config).get("eos_token_id", _DEFAULT_ENDS.get(kind))
    if kind not in _DEFAULT_ENDS or said is None:
        return ()
    ends = said if isinstance(said, list) else [said]
    for index in ends:
        if type(index) is not int:
            place = FILE if (folder / FILE).is_file() else CONFIG
            raise ModelError(f"{place}: eos_token_id = {said!r}: must be an id or several")
    return tuple(dict.fromkeys(index for index in ends if 0 <= index < vocab_size))


def not_taken(folder: Path) -> tuple[str, ...]:
    """Returns the settings of ``generation_config.json`` that a run does not take over, as ``key = value``."""
    settings = read_json(folder / FILE) if (folder / FILE).is_file() else {}
    given = {key: value for key, value in settings.items() if key not in _SILENT and value not in (None, [], {})}
    given = {key: value for key, value in given.items() if key not in _PLAIN or value != _PLAIN[key]}
    return tuple(f"{key} = {json.dumps(value)[:40]}" for key, value in sorted(given.items()))


def generation_config(
    ids: SpecialIds, *, bos_id: int, ends: Sequence[int] = (), max_length: int, start_id: int | None = None
) -> Tree:
    """Returns what ``generate`` of theirs does where its caller says nothing: the greedy search of ours.

    Without it, theirs may write pieces that ours never writes, stops at a length of its own, or goes on beyond the
    last position.

    Args:
        ids: the special pieces.
        bos_id: the piece that begins a text.
        ends: further pieces that end a text.
        max_length: the longest text, marks included.
        start_id: what a decoder reads first; None for a model without encoder.
    """
    tree: Tree = {} if start_id is None else {"decoder_start_token_id": start_id, "forced_eos_token_id": None}
    never = [index for index in ids.never if index not in ends]
    tree |= {"bos_token_id": bos_id, "eos_token_id": [ids.eos, *ends] if ends else ids.eos}
    tree |= {"pad_token_id": None if ids.pad == ABSENT else ids.pad, "max_length": max_length}
    return tree | {"do_sample": False, "num_beams": 1, "suppress_tokens": never or None}


def generation_file(tree: Tree) -> dict[str, str]:
    """Returns ``generation_config.json`` with the settings ``tree``: file name -> content."""
    return {FILE: json.dumps(tree, indent=2) + "\n"}
