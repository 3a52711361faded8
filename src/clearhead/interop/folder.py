"""Folders in Hugging Face's layout: reads and writes config and tensors, without their libraries and without pickle."""

import contextlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from clearhead.config import Tree
from clearhead.errors import DataError, ModelError
from clearhead.files import read_json, usual_mode
from clearhead.interop.spelling import Tensors

CONFIG = "config.json"
# in order of preference; either one file, or parts with an index beside them
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def is_folder(path: Path) -> bool:
    """Whether ``path`` looks like a folder with a Hugging Face model: whether it has a ``config.json``."""
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
    """Reads all tensors; those of floating point become float32, whatever they were stored as.

    Raises:
        ModelError: there are none, a part is missing or damaged, or the index names a tensor that is in no part.
    """
    for name in WEIGHT_FILES:
        if (folder / f"{name}.index.json").is_file():
            return _read_parts(folder, f"{name}.index.json")
        if (folder / name).is_file():
            return _read_file(folder / name)
    raise ModelError(f"{str(folder)!r} has no weights: {' or '.join(WEIGHT_FILES)}, or an index of parts")


def write_folder(folder: Path, config: Tree, tensors: Mapping[str, Tensor], files: Mapping[str, str | bytes]) -> None:
    """Writes config, tensors and further files to a new folder.

    Raises:
        DataError: it cannot be written.
    """
    with new_folder(folder) as temporary:
        write_model(temporary, config, tensors, files)


def write_model(folder: Path, config: Tree, tensors: Mapping[str, Tensor], files: Mapping[str, str | bytes]) -> None:
    """Writes config, tensors and further files into a folder; raises OSError or SafetensorError if that fails."""
    # a tied table, which is there under several names, is written once: the config says that it is tied
    unique, seen = dict[str, Tensor](), set[tuple[Any, ...]]()
    for name, tensor in tensors.items():
        memory = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if memory not in seen or not tensor.numel():
            unique[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
        seen.add(memory)
    save_file(unique, folder / WEIGHT_FILES[0], metadata={"format": "pt"})
    (folder / WEIGHT_FILES[0]).chmod(usual_mode(folder))  # the library keeps them from everybody else
    write_files(folder, {CONFIG: json.dumps(config, indent=2) + "\n", **files})


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Opens a folder that becomes ``folder``, which is not there or empty, at the end; an error leaves nothing of it.

    Raises:
        DataError: it cannot be written.
    """
    place = folder.resolve()
    temporary = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if place.is_dir():
            place.rmdir()
        temporary.replace(place)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{str(folder)!r} cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Writes files by name, some in folders of their own; raises OSError if one cannot be written."""
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def _read_parts(folder: Path, index: str) -> Tensors:
    part_of = read_json(folder / index).get("weight_map")
    if not isinstance(part_of, dict) or not all(isinstance(part, str) for part in part_of.values()):
        raise ModelError(f"{str(folder / index)!r} has no weight_map of tensors and files")
    tensors: Tensors = {}
    for part in sorted(set(part_of.values())):
        if Path(part).name != part or not (folder / part).is_file():
            raise ModelError(f"{str(folder / part)!r} is missing: {index} names it")
        tensors |= _read_file(folder / part)
    for name in sorted(part_of.keys() - tensors.keys()):
        raise ModelError(f"tensor {name!r} is not in {part_of[name]}, where {index} says it is")
    return tensors


def _read_file(path: Path) -> Tensors:
    tensors: Any
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        if isinstance(error, pickle.UnpicklingError):  # torch's own message explains how to run the code in the file
            reason = "only tensors are read from a pickle file"
        raise ModelError(f"{str(path)!r} is damaged, or holds more than tensors: {reason}") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ModelError(f"{str(path)!r} is not a table of tensors")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
