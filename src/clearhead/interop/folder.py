"""A folder in Hugging Face's layout: its config and its tensors, read without their libraries and without pickle."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from clearhead.config import Tree
from clearhead.errors import DataError, ModelError
from clearhead.files import read_json
from clearhead.interop.spelling import Tensors

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in this order; each alone, or in parts with an index beside it


def is_folder(path: Path) -> bool:
    """Whether ``path`` looks like a folder with a model of Hugging Face's."""
    return (path / CONFIG).is_file()


def read_config(folder: Path) -> Tree:
    """Reads the model's ``config.json``.

    Raises:
        ModelError: there is no such folder or file, or it is damaged.
    """
    if not folder.is_dir():
        raise ModelError(f"{str(folder)!r}: no such directory")
    if not is_folder(folder):
        raise ModelError(f"{str(folder)!r} is neither a run nor a folder of Hugging Face's: it has no {CONFIG}")
    return read_json(folder / CONFIG)


def read_tensors(folder: Path) -> Tensors:
    """Reads all tensors, in float32 whatever they were stored in.

    Raises:
        ModelError: there are none, a part is missing or damaged, or the index names a tensor that is in no part.
    """
    for name in WEIGHTS:
        if (folder / f"{name}.index.json").is_file():
            return _read_parts(folder, f"{name}.index.json")
        if (folder / name).is_file():
            return _read_file(folder / name)
    raise ModelError(f"{str(folder)!r} has no weights: {' or '.join(WEIGHTS)}, or an index of parts")


def write_folder(folder: Path, config: Tree, tensors: Mapping[str, Tensor], files: Mapping[str, str | bytes]) -> None:
    """Writes config, tensors and further files to a new folder.

    Raises:
        DataError: it cannot be written.
    """
    # a tensor that is in it twice, a tied table, is written once: the config says that it is tied
    kept, seen = dict[str, Tensor](), set[tuple[Any, ...]]()
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if place not in seen or not tensor.numel():
            kept[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
        seen.add(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(kept, folder / WEIGHTS[0], metadata={"format": "pt"})
        for name, content in {CONFIG: json.dumps(config, indent=2) + "\n", **files}.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{str(folder)!r} cannot be written: {error}") from error


def _read_parts(folder: Path, index: str) -> Tensors:
    places = read_json(folder / index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(part, str) for part in places.values()):
        raise ModelError(f"{str(folder / index)!r} has no weight_map of tensors and files")
    found: Tensors = {}
    for part in sorted(set(places.values())):
        if Path(part).name != part or not (folder / part).is_file():
            raise ModelError(f"{str(folder / part)!r} is missing: {index} names it")
        found |= _read_file(folder / part)
    for name in sorted(places.keys() - found.keys()):
        raise ModelError(f"tensor {name!r} is not in {places[name]}, where {index} says it is")
    return found


def _read_file(path: Path) -> Tensors:
    found: Any
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        if isinstance(error, pickle.UnpicklingError):  # torch's reason is how to run what is in it all the same
            reason = "of a pickle file nothing else is read"
        raise ModelError(f"{str(path)!r} is damaged, or holds more than tensors: {reason}") from error
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ModelError(f"{str(path)!r} is not a table of tensors")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}
