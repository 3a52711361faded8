"""The contents of saved models (runs, checkpoints, exports), read from the headers of their files."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from clearhead.arguments import checked
from clearhead.drawing.report import Note, Part, Table, View, amount
from clearhead.errors import ModelError
from clearhead.manifest import checkpoints_of
from clearhead.messages import Prose

WEIGHTS, OPTIMIZER = ("model", "ema"), "optimizer"
HOLDS = {
    "model.safetensors": "weights",
    "ema.safetensors": "moving average of the weights",
    "optimizer.safetensors": "state of the optimizer",
    "manifest.json": "size and SHA-256 of every file",
    "state.json": "where training is",
    "recipe.toml": "sizes, parts, optimizer, schedule, seed: all that was chosen",
    "config.json": "sizes and parts in Hugging Face's words",
    "README.md": "the model card",
    "loss.png": "the curves of training",
    "metrics.jsonl": "every step and evaluation",
    "data-report.json": "what was read, used and dropped",
    "labels.json": "what the outputs stand for",
    "tokenizer": "tokenizer",
}
"""What a file holds, by its name."""
LONGEST_HEADER = 1 << 20  # bytes; the keys of longer JSON files are not listed


@dataclass(frozen=True)
class SavedFile:
    """One file of a saved form."""

    name: str
    bytes: int
    tensors: int
    numbers: int
    """Elements of all its tensors."""
    kinds: dict[str, int]
    """Kind of tensor -> how many; the kinds of an optimizer are its slots."""
    holds: str
    """The content in words."""


@dataclass(frozen=True)
class SavedForm:
    """A directory that a model can be taken from."""

    path: str
    form: str
    files: list[SavedFile]
    enough_for: str

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class CheckpointView(View):
    """Files and contents of saved models."""

    forms: list[SavedForm]
    missing: list[str]
    """Buffers of the model that are not saved, since they follow from the config."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return "saved forms"

    def parts(self) -> list[Part]:
        """See ``View``."""
        parts: list[Part] = []
        for form in self.forms:
            rows = [(file.name, amount(file.bytes), str(file.tensors or ""), Prose(file.holds)) for file in form.files]
            columns = ("file", ">bytes", ">tensors", "holds")
            parts.append(Table(f"{form.path}: {form.form}; {amount(form.bytes)}", columns, rows))
            parts.append(Note(f"enough for: {form.enough_for}"))
        if self.missing:
            parts.append(Note(f"in none, made anew from the config: {', '.join(self.missing)}"))
        return parts


@checked
def checkpoint(*folders: Path | str, missing: tuple[str, ...] = ()) -> CheckpointView:
    """Lists the contents of saved models from the headers of their files; no tensor is read.

    Args:
        folders: runs, checkpoints, or folders in the layout of Hugging Face.
        missing: names of buffers of the model that are saved nowhere.

    Raises:
        ModelError: a folder does not exist, has no model, or a file of it is damaged.
    """
    forms = [form for folder in folders for form in _forms(Path(folder))]
    return CheckpointView(forms, list(missing))


def _forms(folder: Path) -> Iterator[SavedForm]:
    if not folder.is_dir():
        raise ModelError(f"folder {str(folder)!r}: no such directory")
    checkpoints = checkpoints_of(folder)
    if checkpoints or ((folder / "recipe.toml").is_file() and not (folder / "manifest.json").is_file()):
        yield SavedForm(
            str(folder), "run", _files(folder), "reading text as the model does; its weights are in the checkpoints"
        )
        for path in checkpoints:
            yield from _forms(path)
        return
    files = _files(folder)
    names = {file.name for file in files}
    if not any(file.tensors for file in files):
        raise ModelError(f"folder {str(folder)!r}: holds no weights, neither a run, a checkpoint nor an exported model")
    if "state.json" in names and f"{OPTIMIZER}.safetensors" in names:
        yield SavedForm(
            str(folder), "full checkpoint", files, "going on with training, bit by bit, and using the model"
        )
    elif "state.json" in names:
        yield SavedForm(
            str(folder), "weights only", files, "using the model with the run's recipe, not for going on with training"
        )
    else:
        yield SavedForm(
            str(folder), "exported", files, "using the model elsewhere: weights with their config, no training state"
        )


def _files(folder: Path) -> list[SavedFile]:
    """Returns all files below a folder but those of its checkpoints, which are forms of their own."""
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [_file(folder, path) for path in paths if path.parts[0] != "checkpoints"]


def _file(folder: Path, relative: Path) -> SavedFile:
    path, name = folder / relative, relative.as_posix()
    size = path.stat().st_size
    if path.suffix == ".safetensors":
        return _tensors(path, name, size)
    holds = HOLDS.get(path.name, HOLDS["tokenizer"] if "token" in name else "")
    if path.name == "state.json" and size < LONGEST_HEADER:
        holds += f": {', '.join(_keys(path))}"
    return SavedFile(name, size, 0, 0, {}, holds)


def _keys(path: Path) -> list[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"checkpoint file {str(path)!r} is damaged: {error}") from error
    return [key for key in content if key != "format"] if isinstance(content, dict) else []


def _tensors(path: Path, name: str, size: int) -> SavedFile:
    kinds: Counter[str] = Counter()
    numbers = 0
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - the file handle cannot be iterated
                numbers += math.prod(file.get_slice(key).get_shape())
                kinds[key.partition("/")[0] if path.stem == OPTIMIZER else "tensors"] += 1
    except (SafetensorError, OSError) as error:
        raise ModelError(f"checkpoint file {str(path)!r} is damaged: {error}") from error
    holds = HOLDS.get(name, HOLDS["model.safetensors"])
    if path.stem == OPTIMIZER:
        holds += ": " + ", ".join(f"{kind} x {count}" for kind, count in kinds.items())
    return SavedFile(name, size, sum(kinds.values()), numbers, dict(kinds), holds)
