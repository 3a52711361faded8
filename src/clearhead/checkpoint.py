"""Checkpoints: a directory of safetensors and JSON with a manifest, written beside and renamed; no pickle."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clearhead.errors import DataError, ModelError
from clearhead.files import sync
from clearhead.nn.shards import is_shard, part_like

FORMAT = 2  # 1 has no files besides tensors and numbers, and says nothing of random generators and optimizers
MANIFEST = "manifest.json"
STEP = "step-" + "[0-9]" * 8


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on: tensors by file, JSON state, and what stands beside the weights to use them."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    """File stem (model, ema, optimizer) -> name -> tensor."""
    state: Mapping[str, Any]
    """Step, epoch, data position, scores, random generators: whatever the loop says, as JSON values."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Path inside the checkpoint -> content: recipe and tokenizer. ``load_checkpoint`` leaves them on the disk."""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes ``checkpoint`` to the directory ``path``, which exists whole or not at all afterwards.

    It is written beside, brought to the disk, and renamed; one that is there already stays until then.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    beside, before = path.with_name(path.name + ".tmp"), path.with_name(path.name + ".old")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        _write(beside, checkpoint)
        shutil.rmtree(before, ignore_errors=True)
        if path.exists():
            path.rename(before)
        beside.rename(path)
        sync(path.parent)
    except (OSError, SafetensorError) as error:
        _put_back(before, path)
        shutil.rmtree(beside, ignore_errors=True)
        raise DataError(f"checkpoint {str(path)!r} cannot be written: {error}") from error
    shutil.rmtree(before, ignore_errors=True)


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    for stem, tensors in checkpoint.tensors.items():
        plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save_file(plain, folder / f"{stem}.safetensors")
    (folder / "state.json").write_text(json.dumps({"format": FORMAT, **checkpoint.state}, indent=1))
    for name, content in checkpoint.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    found = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    manifest = {file.relative_to(folder).as_posix(): [file.stat().st_size, _digest(file)] for file in found}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    for place in [*sorted(folder.rglob("*")), folder]:
        sync(place)


def _put_back(before: Path, path: Path) -> None:
    """Gives a checkpoint its name again where its successor did not get it."""
    if before.is_dir() and not path.exists():
        with contextlib.suppress(OSError):
            before.rename(path)


def tidy(run: Path) -> None:
    """Removes what a save that was killed has left in a run; nobody else may be writing to it."""
    folder = run / "checkpoints"
    for before in folder.glob(f"{STEP}.old"):
        _put_back(before, before.with_suffix(""))
    for left in [*folder.glob(f"{STEP}.old"), *folder.glob(f"{STEP}.tmp")]:
        shutil.rmtree(left, ignore_errors=True)


def drop_checkpoint(path: Path) -> None:
    """Deletes a checkpoint, which loses its name before it loses a file; what cannot be deleted is left to ``tidy``."""
    with contextlib.suppress(OSError):
        shutil.rmtree(path.rename(path.with_name(path.name + ".tmp")), ignore_errors=True)


def load_checkpoint(path: Path, stems: tuple[str, ...] | None = None, *, verify: bool = True) -> Checkpoint:
    """Reads a checkpoint; each file that is read is first checked against the manifest, others are not looked at.

    Args:
        path: the directory.
        stems: which tensor files to read; None reads all, and checks what stands beside them too.
        verify: False for files that ``verify_checkpoint`` has just checked.

    Raises:
        ModelError: a file is missing, cut short, changed or unreadable; the message names it, and the newest checkpoint
            before this one that is whole.
    """
    with _naming_an_older_one(path):
        manifest = _read_manifest(path)
        present = [Path(name).stem for name in manifest if name.endswith(".safetensors")]
        wanted = present if stems is None else [stem for stem in stems if stem in present]
        files = list(manifest) if stems is None else [*(f"{stem}.safetensors" for stem in wanted), "state.json"]
        if verify:
            _check_files(path, {name: manifest[name] for name in files})
        state = _read_json(path / "state.json")
        tensors = {stem: _read_tensors(path / f"{stem}.safetensors") for stem in wanted}
    known = state.pop("format", None)
    if known not in range(1, FORMAT + 1):
        writer = state.get("environment", {}).get("clearhead", "another version")
        raise ModelError(
            f"checkpoint {str(path)!r} has format {known}, of clearhead {writer}; this version knows up to {FORMAT}"
        )
    return Checkpoint(tensors, state)


def load_weights(path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    """Reads the weights of a checkpoint, their moving average where it has one, and its state; nothing else.

    Raises:
        ModelError: see ``load_checkpoint``.
    """
    stem = "ema" if "ema.safetensors" in _read_manifest(path) else "model"
    saved = load_checkpoint(path, (stem,))
    if stem not in saved.tensors:
        raise ModelError(f"checkpoint {str(path)!r} has no weights: neither ema.safetensors nor model.safetensors")
    return saved.tensors[stem], saved.state


def verify_checkpoint(path: Path, *, offer: bool = True) -> dict[str, tuple[int, str]]:
    """Checks every file of a checkpoint against its manifest, and returns that: path -> size and SHA-256.

    Args:
        path: the directory.
        offer: whether the message names an older checkpoint that is whole, which is looked for.

    Raises:
        ModelError: see ``load_checkpoint``.
    """
    with _naming_an_older_one(path) if offer else contextlib.nullcontext():
        manifest = _read_manifest(path)
        _check_files(path, manifest)
        return manifest


@contextlib.contextmanager
def _naming_an_older_one(path: Path) -> Iterator[None]:
    """Adds to an error about the checkpoint at ``path`` the newest one before it that is whole."""
    try:
        yield
    except ModelError as error:
        older = next(_whole_before(path), None)
        more = f"; {older.name} before it is whole: name it with --checkpoint" if older else ""
        raise ModelError(f"{error}{more}") from error


def _read_manifest(path: Path) -> dict[str, tuple[int, str]]:
    """Returns size and SHA-256 of each file of a checkpoint, by its path inside."""
    manifest = _read_json(path / MANIFEST)
    if "state.json" not in manifest or not all(_is_entry(entry) for entry in manifest.values()):
        raise ModelError(f"checkpoint file {str(path / MANIFEST)!r} is damaged: not a list of sizes and checksums")
    return {name: (size, digest) for name, (size, digest) in manifest.items()}


def _check_files(path: Path, manifest: Mapping[str, tuple[int, str]]) -> None:
    for name, (size, digest) in manifest.items():
        _verify(path / name, size, digest)


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"checkpoint file {str(file)!r} cannot be read: {error}") from error


def _whole_before(path: Path) -> Iterator[Path]:
    for older in sorted(path.parent.glob(STEP), reverse=True):
        if older.name < path.name:
            with contextlib.suppress(ModelError):
                verify_checkpoint(older, offer=False)
                yield older


def tensor_sizes(path: Path) -> dict[str, int]:
    """Returns the bytes of a checkpoint's tensors: of the weights, their average, each slot of the optimizers.

    Raises:
        ModelError: a file cannot be read.
    """
    found: dict[str, int] = {}
    for file in sorted(path.glob("*.safetensors")):
        for name, size in _header(file).items():
            part = f"optimizer {name.partition('/')[0]}" if file.stem == "optimizer" else file.stem
            found[part] = found.get(part, 0) + size
    return found


def _header(file: Path) -> dict[str, int]:
    """Returns the bytes of each tensor in a safetensors file: its length in 8 bytes, then JSON."""
    try:
        with file.open("rb") as stream:
            tree = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        tree.pop("__metadata__", None)
        return {name: entry["data_offsets"][1] - entry["data_offsets"][0] for name, entry in tree.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise ModelError(f"checkpoint file {str(file)!r} is damaged: its header cannot be read") from error


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Returns the model's parameters and buffers by name, a shared tensor once, under its first name.

    Of those that are shared by processes, this one's parts.
    """
    seen: set[int] = set()
    kept: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        place = id(tensor) if is_shard(tensor) else tensor.data_ptr()
        if place not in seen or not tensor.numel():
            kept[name] = tensor.detach()
            seen.add(place)
    return kept


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
            own[name].copy_(part_like(own[name], tensors[name]))
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
    return sorted((run / "checkpoints").glob(STEP))


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], int) and isinstance(entry[1], str)


def _verify(file: Path, size: int, digest: str) -> None:
    try:
        if not file.is_file():
            raise ModelError(f"checkpoint file {str(file)!r} is missing")
        if (found := file.stat().st_size) != size:
            raise ModelError(f"checkpoint file {str(file)!r} has {found} bytes, its manifest says {size}")
        if _digest(file) != digest:
            raise ModelError(f"checkpoint file {str(file)!r} does not match the checksum in its manifest")
    except OSError as error:
        raise ModelError(f"checkpoint file {str(file)!r} cannot be read: {error.strerror}") from error


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_json(file: Path) -> dict[str, Any]:
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"checkpoint file {str(file)!r} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"checkpoint file {str(file)!r} is damaged: {error}") from error
    if not isinstance(tree, dict):
        raise ModelError(f"checkpoint file {str(file)!r} is damaged: not a table")
    return tree
