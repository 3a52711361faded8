"""Checkpoints: a directory of safetensors and JSON files with a manifest, written atomically; no pickle."""

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

from clearhead.brief import Brief
from clearhead.errors import DataError, ModelError
from clearhead.files import remove, sync, usual_mode
from clearhead.manifest import MANIFEST, STEP, read_manifest, read_state, weights_file
from clearhead.nn.shards import is_shard, part_like

MOST_HEADER = 1 << 24  # bytes of the header of a tensor file, which has about a hundred a tensor
FORMAT = 2  # format 1 has only tensors and numbers: no files, random generators or optimizer settings


@dataclass(frozen=True)
class Checkpoint(Brief):
    """All that a run needs to resume: tensors by file, JSON state, and the files that are needed to use the weights."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    """File stem (model, ema, optimizer) -> name -> tensor."""
    state: Mapping[str, Any]
    """Step, epoch, data position, scores, random generators and more, as JSON values."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Path inside the checkpoint -> content, for recipe and tokenizer. ``load_checkpoint`` does not read them."""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes ``checkpoint`` to the directory ``path``, atomically.

    It is written to a temporary directory, flushed to disk and renamed; until then an existing checkpoint stays.

    Raises:
        DataError: the disk is full or the directory cannot be written.
    """
    temporary, previous = path.with_name(path.name + ".tmp"), path.with_name(path.name + ".old")
    try:
        _clear(temporary)
        temporary.mkdir(parents=True)
        _write(temporary, checkpoint)
        _clear(previous)
        if path.exists():
            path.rename(previous)
        temporary.rename(path)
        sync(path.parent)
    except (OSError, SafetensorError) as error:
        _put_back(previous, path)
        shutil.rmtree(temporary, ignore_errors=True)
        raise DataError(f"checkpoint {str(path)!r} cannot be written: {error}") from error
    _clear(previous)


def _clear(path: Path) -> None:
    """Deletes what an earlier process left at ``path``: a folder, or a link, but never what the link points to."""
    if path.is_symlink():
        remove(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    mode = usual_mode(folder)
    for stem, tensors in checkpoint.tensors.items():
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, folder / f"{stem}.safetensors")
        (folder / f"{stem}.safetensors").chmod(mode)  # the library keeps them from everybody else
    (folder / "state.json").write_text(json.dumps({"format": FORMAT, **checkpoint.state}, indent=1))
    for name, content in checkpoint.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    manifest = {file.relative_to(folder).as_posix(): [file.stat().st_size, _digest(file)] for file in files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    for file_or_folder in [*sorted(folder.rglob("*")), folder]:
        sync(file_or_folder)


def _put_back(previous: Path, path: Path) -> None:
    """Renames the previous checkpoint back to ``path`` if the new one did not get that name."""
    if previous.is_dir() and not path.exists():
        with contextlib.suppress(OSError):
            previous.rename(path)


def tidy(run: Path) -> None:
    """Cleans up after a process that was killed while saving; no other process may be writing to the run."""
    folder = run / "checkpoints"
    for previous in folder.glob(f"{STEP}.old"):
        _put_back(previous, previous.with_suffix(""))
    for remnant in [*folder.glob(f"{STEP}.old"), *folder.glob(f"{STEP}.tmp")]:
        _clear(remnant)


def drop_checkpoint(path: Path) -> None:
    """Deletes a checkpoint, renaming it first so that no damaged one is seen; ``tidy`` removes what is left of it."""
    with contextlib.suppress(OSError):
        _clear(path.rename(path.with_name(path.name + ".tmp")))


def load_checkpoint(path: Path, stems: tuple[str, ...] | None = None, *, verify: bool = True) -> Checkpoint:
    """Reads a checkpoint; each file that is read is first checked against the manifest, others are not looked at.

    Args:
        path: the directory.
        stems: which tensor files to read; None reads all, and checks what stands beside them too.
        verify: False for files that ``verify_checkpoint`` has just checked.

    Raises:
        ModelError: a file is missing, truncated, changed or unreadable; the message names it, and the newest earlier
            checkpoint that is intact.
    """
    with _naming_an_older_one(path):
        manifest = read_manifest(path)
        present = [Path(name).stem for name in manifest if name.endswith(".safetensors")]
        wanted = present if stems is None else [stem for stem in stems if stem in present]
        files = list(manifest) if stems is None else [*(f"{stem}.safetensors" for stem in wanted), "state.json"]
        if verify:
            _check_files(path, {name: manifest[name] for name in files})
        state = read_state(path)
        tensors = {stem: _read_tensors(path / f"{stem}.safetensors") for stem in wanted}
    version = state.pop("format", None)
    if version not in range(1, FORMAT + 1):
        writer = state.get("environment", {}).get("clearhead", "another version")
        raise ModelError(
            f"checkpoint {str(path)!r} has format {version}, written by clearhead {writer}; "
            f"this version reads formats up to {FORMAT}"
        )
    return Checkpoint(tensors, state)


def load_weights(path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    """Reads the weights of a checkpoint, their moving average where it has one, and its state; nothing else.

    Raises:
        ModelError: see ``load_checkpoint``.
    """
    stem = weights_file(path).stem
    saved = load_checkpoint(path, (stem,))
    if stem not in saved.tensors:
        raise ModelError(f"checkpoint {str(path)!r} has no weights: neither ema.safetensors nor model.safetensors")
    return saved.tensors[stem], saved.state


def verify_checkpoint(path: Path, *, offer: bool = True) -> dict[str, tuple[int, str]]:
    """Checks every file of a checkpoint against its manifest, and returns the manifest: path -> size and SHA-256.

    Args:
        path: the directory.
        offer: whether to look for an older checkpoint that is intact, and name it in the message.

    Raises:
        ModelError: see ``load_checkpoint``.
    """
    with _naming_an_older_one(path) if offer else contextlib.nullcontext():
        manifest = read_manifest(path)
        _check_files(path, manifest)
        return manifest


@contextlib.contextmanager
def _naming_an_older_one(path: Path) -> Iterator[None]:
    """Adds to an error about the checkpoint at ``path`` the newest earlier one that is intact."""
    try:
        yield
    except ModelError as error:
        older = next(_intact_before(path), None)
        hint = f"; the earlier {older.name} is intact: choose it with --checkpoint" if older else ""
        raise ModelError(f"{error}{hint}") from error


def _check_files(path: Path, manifest: Mapping[str, tuple[int, str]]) -> None:
    for name, (size, digest) in manifest.items():
        _verify(path / name, size, digest)


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"checkpoint file {str(file)!r} cannot be read: {error}") from error


def _intact_before(path: Path) -> Iterator[Path]:
    """Yields the intact checkpoints before ``path``, the newest first."""
    for older in sorted(path.parent.glob(STEP), reverse=True):
        if older.name < path.name:
            with contextlib.suppress(ModelError):
                verify_checkpoint(older, offer=False)
                yield older


def tensor_sizes(path: Path) -> dict[str, int]:
    """Returns the bytes of the tensors in a checkpoint: the weights, their average, and each slot of the optimizers.

    Raises:
        ModelError: a file cannot be read.
    """
    sizes: dict[str, int] = {}
    for file in sorted(path.glob("*.safetensors")):
        for name, size in _header(file).items():
            part = f"optimizer {name.partition('/')[0]}" if file.stem == "optimizer" else file.stem
            sizes[part] = sizes.get(part, 0) + size
    return sizes


def _header(file: Path) -> dict[str, int]:
    """Returns the bytes of each tensor, from the header of a safetensors file: its length in 8 bytes, then JSON."""
    try:
        if not file.is_file():
            raise ValueError("not a file")
        with file.open("rb") as stream:
            size, length = file.stat().st_size, int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(size - 8, MOST_HEADER):
                raise ValueError(length)
            tree = json.loads(stream.read(length))
        tree.pop("__metadata__", None)
        spans = {name: range(*entry["data_offsets"]) for name, entry in tree.items()}
        if not all(0 <= span.start <= span.stop <= size and span.step == 1 for span in spans.values()):
            raise ValueError(spans)
        return {name: len(span) for name, span in spans.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(f"checkpoint file {str(file)!r} is damaged: its header cannot be read") from error


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Returns the parameters and buffers of a model by name; a tensor with several names only under the first.

    Of tensors that are sharded across processes, returns the part of this process.
    """
    seen: set[int] = set()
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        place = id(tensor) if is_shard(tensor) else tensor.data_ptr()
        if place not in seen or not tensor.numel():
            tensors[name] = tensor.detach()
            seen.add(place)
    return tensors


@dataclass(frozen=True)
class LoadReport:
    """Which tensors were loaded when weights were matched by name."""

    loaded: list[str]
    new: list[str]
    """Only in the model: they keep their initial values."""
    left: list[str]
    """Only in the source."""

    def line(self) -> str:
        """Returns the report as one line of text."""
        parts = [f"{len(self.loaded)} tensors loaded"]
        for word, names in (("new", self.new), ("left", self.left)):
            shown = ", ".join(names[:4]) + (" and more" if len(names) > 4 else "")
            if names:
                parts.append(f"{len(names)} {word}: {shown}")
        return "; ".join(parts)


def load_matching(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> LoadReport:
    """Copies into ``model`` those of ``tensors`` that it has too, by name; returns which they are.

    Raises:
        ModelError: a tensor has another shape in the model; the message names it.
    """
    own = model_tensors(model)
    loaded = sorted(own.keys() & tensors.keys())
    _check_shapes(own, tensors, source)
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(part_like(own[name], tensors[name]))
    return LoadReport(loaded, sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys()))


def load_model_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies ``tensors`` into ``model``; both must have the same names and shapes.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape; the message names the first one.
    """
    _check_names(model_tensors(model), tensors, source)
    load_matching(model, tensors, source)


def _check_names(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str) -> None:
    for name in sorted(own.keys() ^ tensors.keys()):
        raise ModelError(f"{source}: tensor {name!r} is {'missing' if name in own else 'not part of this model'}")


def _check_shapes(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str) -> None:
    """Checks those that both have."""
    for name in sorted(own.keys() & tensors.keys()):
        if own[name].shape != tensors[name].shape:
            shape, wanted = list(tensors[name].shape), list(own[name].shape)
            raise ModelError(f"{source}: tensor {name!r} has shape {shape}, this model needs {wanted}")


def adopt_model_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """As ``load_model_tensors``, but parameters share the memory of ``tensors``, such as pages of a mapped file."""
    own = model_tensors(model)
    _check_names(own, tensors, source)
    _check_shapes(own, tensors, source)
    for name, parameter in model.named_parameters():
        if parameter.dtype == tensors[name].dtype and parameter.device == tensors[name].device:
            parameter.data = tensors[name]
            del own[name]
    load_matching(model, {name: tensors[name] for name in own}, source)


def average_checkpoints(paths: list[Path]) -> dict[str, Tensor]:
    """Returns the mean of the models in ``paths``, which approximates an ensemble (Junczys-Dowmunt et al. 2016)."""
    total: dict[str, Tensor] = {}
    for path in paths:
        for name, tensor in load_checkpoint(path, ("model",)).tensors["model"].items():
            total[name] = total[name] + tensor.double() if name in total else tensor.double()
    return {name: (tensor / len(paths)).float() for name, tensor in total.items()}


def _verify(file: Path, size: int, digest: str) -> None:
    try:
        if not file.is_file():
            raise ModelError(f"checkpoint file {str(file)!r} is missing")
        if (actual := file.stat().st_size) != size:
            raise ModelError(f"checkpoint file {str(file)!r} has {actual} bytes, its manifest says {size}")
        if _digest(file) != digest:
            raise ModelError(f"checkpoint file {str(file)!r} does not match the checksum in its manifest")
    except OSError as error:
        raise ModelError(f"checkpoint file {str(file)!r} cannot be read: {error.strerror}") from error


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
