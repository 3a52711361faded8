"""Folders of sentence-transformers: ``modules.json`` and what it names, from and to the config of our vectors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearhead.config import Tree
from clearhead.errors import ModelError
from clearhead.files import read_json, read_json_list
from clearhead.interop.spelling import demand
from clearhead.models.embedding import EmbeddingConfig

MODULES, SETTINGS, LIMITS = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"
_POOLING = "1_Pooling/config.json"
_TYPES = ("Transformer", "Pooling", "Normalize")
_MODES = {"mean": "mean", "cls": "first", "max": "max"}  # their word -> ours
_OLD = {f"pooling_mode_{mode}_tokens" if mode != "cls" else "pooling_mode_cls_token": mode for mode in _MODES}


def read_sentence(folder: Path, d_model: int, max_seq_len: int, settings: Tree) -> EmbeddingConfig | None:
    """Reads how a folder makes vectors of texts; None if it does not say, having no ``modules.json``.

    Args:
        folder: the folder of a model.
        d_model: features of its states.
        max_seq_len: positions of the model.
        settings: its ``tokenizer_config.json``, which may limit the length of texts.

    Raises:
        ModelError: a module or setting that ours does not have; the message names it.
    """
    if not (folder / MODULES).is_file():
        return None
    modules = read_json_list(folder / MODULES)
    kinds = [_kind(number, module) for number, module in enumerate(modules)]
    if kinds not in (list(_TYPES[:2]), list(_TYPES)):
        shown = ", ".join(kinds)
        raise ModelError(
            f"{MODULES}: the modules are {shown}: must be Transformer and Pooling, and may end in Normalize"
        )
    paths = [str(module.get("path") or "") for module in modules]
    if paths[0]:
        raise ModelError(f"{MODULES}: the path of Transformer is {paths[0]!r}: must be the folder itself")
    for path in paths[1:]:
        if Path(path).name != path or not path:
            raise ModelError(f"{MODULES}: the path {path!r}: must be the name of a folder inside this one")
    place = f"{paths[1]}/config.json"
    further, limits = (read_json(folder / name) if (folder / name).is_file() else {} for name in (SETTINGS, LIMITS))
    demand(limits, {"do_lower_case": (False, None)}, f"{LIMITS}: ")
    demand(further, {"default_prompt_name": (None, ""), "truncate_dim": (None, d_model)}, f"{SETTINGS}: ")
    pooling = read_json(folder / place)
    size = pooling.get("embedding_dimension", pooling.get("word_embedding_dimension", d_model))
    demand({"word_embedding_dimension": size}, {"word_embedding_dimension": (d_model,)}, f"{place}: ")
    longest = limits.get("max_seq_length") or settings.get("model_max_length")
    if len(kinds) == len(_TYPES):
        _check_normalize(folder / paths[2] / "config.json")
    limited = type(longest) is int and 2 < longest < max_seq_len
    return EmbeddingConfig(_mode(pooling, place), len(kinds) == len(_TYPES), longest if limited else None)


def write_sentence(config: EmbeddingConfig, *, d_model: int, max_seq_len: int) -> dict[str, str]:
    """Returns the files with which sentence-transformers makes the same vectors: file name -> content."""
    names = ["", "1_Pooling", "2_Normalize"][: 3 if config.normalize else 2]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(zip(names, _TYPES, strict=False))
    ]
    theirs = next(mode for mode, ours in _MODES.items() if ours == config.pooling)
    pooling: Tree = {"word_embedding_dimension": d_model, **{key: mode == theirs for key, mode in _OLD.items()}}
    limits = {"max_seq_length": config.max_seq_len or max_seq_len, "do_lower_case": False}
    contents: dict[str, Any] = {MODULES: modules, _POOLING: pooling, LIMITS: limits}
    if config.normalize:
        contents["2_Normalize/config.json"] = {}
    return {name: json.dumps(content, indent=2) + "\n" for name, content in contents.items()}


def _kind(number: int, module: Any) -> str:
    """Returns the class of a module; only those of the library itself, whatever the version called their place."""
    kind = module.get("type") if isinstance(module, Mapping) else None
    package, _, name = str(kind).rpartition(".")
    if name not in _TYPES or package.partition(".")[0] != "sentence_transformers":
        raise ModelError(f"{MODULES}: module {number} is {kind!r}: must be {', '.join(_TYPES[:-1])} or {_TYPES[-1]}")
    return name


def _mode(pooling: Tree, place: str) -> Any:
    """Returns our word for the states that their pooling takes."""
    modes = pooling.get("pooling_mode")
    if modes is None:
        on = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value]
        modes = [_OLD.get(key, key) for key in on] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    shown = modes[0] if len(modes) == 1 else modes
    demand({"pooling_mode": shown}, {"pooling_mode": tuple(_MODES)}, f"{place}: ")
    return _MODES[modes[0]]


def _check_normalize(path: Path) -> None:
    settings = read_json(path) if path.is_file() else {}
    names = ("sentence_embedding", None)
    demand(settings, {"module_input_name": names, "module_output_name": names}, f"{path.parent.name}/{path.name}: ")
