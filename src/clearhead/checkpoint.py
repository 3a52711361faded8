"""Checkpoints: a directory of safetensors and JSON with a manifest, written beside and renamed; no pickle."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clearhead.errors import DataError, ModelError

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on: tensors by file, and JSON state."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    """File stem (model, ema, optimizer) -> name -> tensor."""
    state: Mapping[str, Any]
    """Step, epoch, data position, scores, RNG: whatever the loop says, as JSON values."""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes ``checkpoint`` to the directory ``path``, which exists whole or not at all afterwards.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    beside = path.with_name(path.name + ".tmp")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for stem, tensors in checkpoint.tensors.items():
            save_file(
                {name: tensor.detach().contiguous() for name, tensor in tensors.items()},
                beside / f"{stem}.safetensors",
            )
        (beside / "state.json").write_text(json.dumps({"format": FORMAT, **checkpoint.state}, indent=1))
        manifest = {file.name: [file.stat().st_size, _digest(file)] for file in sorted(beside.iterdir())}
        (beside / "manifest.json").write_text(json.dumps(manifest, indent=1))
        for file in beside.iterdir():
            _sync(file)
        shutil.rmtree(path, ignore_errors=True)
        beside.rename(path)
        _sync(path.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise DataError(f"checkpoint {str(path)!r} cannot be written: {error}") from error


def load_checkpoint(path: Path, stems: tuple[str, ...] | None = None) -> Checkpoint:
    """Reads a checkpoint after checking every file against the manifest.

    Args:
        path: the directory.
        stems: which tensor files to read; None reads all.

    Raises:
        ModelError: a file is missing, cut short, changed or unreadable; the message names it.
    """
    manifest = _read_json(path / "manifest.json")
    if "state.json" not in manifest or not all(_is_entry(entry) for entry in manifest.values()):
        raise ModelError(
            f"checkpoint file {str(path / 'manifest.json')!r} is damaged: not a list of sizes and checksums"
        )
    for name, (size, digest) in manifest.items():
        _verify(path / name, size, digest)
    state = _read_json(path / "state.json")
    if state.pop("format", None) != FORMAT:
        raise ModelError(f"checkpoint {str(path)!r} has a format this version does not know; it knows {FORMAT}")
    found = [Path(name).stem for name in manifest if name.endswith(".safetensors")]
    return Checkpoint(
        {stem: load_file(path / f"{stem}.safetensors") for stem in stems or found if stem in found}, state
    )


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Returns the model's parameters and buffers by name, a shared tensor once, under its first name."""
    seen: set[int] = set()
    kept: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        place = id(tensor) if is_sharded(tensor) else tensor.data_ptr()
        if place not in seen or not tensor.numel():
            kept[name] = tensor.detach()
            seen.add(place)
    return kept


def is_sharded(tensor: Tensor) -> bool:
    """Whether each process has a part of ``tensor``."""
    return type(tensor).__name__ == "DTensor" or "DTensor" in {kind.__name__ for kind in type(tensor).__mro__}


def whole(tensor: Tensor) -> Tensor:
    """Returns the whole of a tensor of which each process has a part: all must call this. Others are whole already."""
    found: Tensor = tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
    return found


def put(own: Tensor, value: Tensor) -> None:
    """Copies ``value`` into ``own``, or this process's part of it."""
    if is_sharded(own):
        from torch.distributed.tensor import distribute_tensor

        mesh, placements = own.device_mesh, own.placements  # type: ignore[attr-defined]
        value = distribute_tensor(value.to(own.device), mesh, placements, src_data_rank=None)
    own.copy_(value)


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors when weights were taken over by name."""

    loaded: list[str]
    new: list[str]
    """In the model alone: they stay as they were drawn."""
    left: list[str]
    """In the source alone."""

    def line(self) -> str:
        """The same as text."""
        parts = [f"{len(self.loaded)} tensors loaded"]
        for word, names in (("new", self.new), ("left", self.left)):
            shown = ", ".join(names[:4]) + (" and more" if len(names) > 4 else "")
            parts += [f"{len(names)} {word}: {shown}"] if names else []
        return "; ".join(parts)


def load_matching(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> LoadReport:
    """Copies those of ``tensors`` that ``model`` has too, by name, and says which.

    Raises:
        ModelError: a tensor has another shape than the model's; the message names it.
    """
    own = model_tensors(model)
    loaded = sorted(own.keys() & tensors.keys())
    for name in loaded:
        if own[name].shape != tensors[name].shape:
            given, wanted = list(tensors[name].shape), list(own[name].shape)
            raise ModelError(f"{source}: tensor {name!r} has shape {given}, this model needs {wanted}")
    with torch.no_grad():
        for name in loaded:
            put(own[name], tensors[name])
    return LoadReport(loaded, sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys()))


def load_model_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies ``tensors`` into ``model``.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape; the message names the first.
    """
    own = model_tensors(model)
    for name in sorted(own.keys() ^ tensors.keys()):
        raise ModelError(f"{source}: tensor {name!r} is {'missing' if name in own else 'not part of this model'}")
    load_matching(model, tensors, source)


def average_checkpoints(paths: list[Path]) -> dict[str, Tensor]:
    """Returns the mean of the models in ``paths`` (Junczys-Dowmunt et al. 2016): a stand-in for an ensemble."""
    total: dict[str, Tensor] = {}
    for path in paths:
        for name, tensor in load_checkpoint(path, ("model",)).tensors["model"].items():
            total[name] = total[name] + tensor.double() if name in total else tensor.double()
    return {name: (tensor / len(paths)).float() for name, tensor in total.items()}


def checkpoints_of(run: Path) -> list[Path]:
    """Returns the checkpoints of a run by step, oldest first."""
    return sorted((run / "checkpoints").glob("step-" + "[0-9]" * 8))


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], int) and isinstance(entry[1], str)


def _verify(file: Path, size: int, digest: str) -> None:
    if not file.is_file():
        raise ModelError(f"checkpoint file {str(file)!r} is missing")
    if file.stat().st_size != size:
        raise ModelError(f"checkpoint file {str(file)!r} has {file.stat().st_size} bytes, its manifest says {size}")
    if _digest(file) != digest:
        raise ModelError(f"checkpoint file {str(file)!r} does not match the checksum in its manifest")


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_json(file: Path) -> dict[str, Any]:
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"checkpoint file {str(file)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"checkpoint file {str(file)!r} is damaged: {error}") from error
    if not isinstance(tree, dict):
        raise ModelError(f"checkpoint file {str(file)!r} is damaged: not a table")
    return tree


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
