"""A file of ``export --to file`` as a run directory again, in the cache, for what takes the run; no torch until then.

Packed float32 weights are those of the run in another order. So is all else in the file: recipe, tokenizers, labels,
and what its text has told. Steps, scores and optimizers are not.
"""

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from clearhead.engine.weights.file import ModelFile, about_model, digest_of_header, is_model_file, open_model
from clearhead.errors import DataError, ModelError
from clearhead.runs.cache import working_folder
from clearhead.runs.directory import save_json, write_text
from clearhead.runs.packed import MOST, unused_longest

if TYPE_CHECKING:
    from torch import nn

    from clearhead.engine.weights.describe import Covered
    from clearhead.runs.opened import SavedRun

REST = "rest.safetensors"
_TEXT_PARTS = re.compile(r"tokenizer/\w+\.json|labels\.json")
_LEARNED = re.compile(r"shortlist\.npz|confidence\.json")
"""What verbs have learned of a trained model."""


def open_run(path: Path, *, checkpoint: str = "best") -> "SavedRun":
    """Opens a run directory, or a file of float32 weights as one.

    Raises:
        ModelError: see ``SavedRun.open`` and ``run_directory``.
        DataError: likewise.
    """
    from clearhead.runs.opened import SavedRun

    return SavedRun.open(run_directory(path), checkpoint=checkpoint)


def has_run(path: Path) -> bool:
    """Whether a file holds all of the run that it was made of; raises ModelError if it is damaged."""
    return "origin" in about_model(path)


def run_directory(path: Path) -> Path:
    """Returns the run directory that a user means: the one that is named, or that of a file, made where it is missing.

    Raises:
        ModelError: the file is damaged, or holds weights that are rounded.
        DataError: the directory cannot be written.
    """
    if not is_model_file(path):
        return path
    folder = working_folder("expanded")
    place = folder / f"{path.stem}-{digest_of_header(path).hex()[:16]}"
    if not place.is_dir():
        _make(_whole(path), place)
    with contextlib.suppress(OSError):
        os.utime(place)
    for other in unused_longest(folder.glob("*"), MOST):
        if other != place:
            shutil.rmtree(other, ignore_errors=True)
    return place


def _make(file: ModelFile, place: Path) -> None:
    """Makes the run directory of a file, whole or not at all."""
    try:
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".", ignore_cleanup_errors=True) as name:
            _expand(file, Path(name) / place.name)
            with contextlib.suppress(OSError):  # another process was quicker
                os.rename(Path(name) / place.name, place)
    except OSError as error:
        raise DataError(f"{str(place)!r} cannot be written: {error.strerror}") from error


def beside_packed(model: "nn.Module") -> tuple[dict[str, str], dict[str, bytes]]:
    """Returns what a file of float32 weights needs besides, to become a run again.

    Args:
        model: whose weights are packed.

    Returns:
        What the file says of the model: the digest of all weights. And its small files: weights that the native engine
        has no use for, such as the head of a BERT that tells whether one sentence follows another.
    """
    from safetensors.torch import save

    from clearhead.checkpoint import model_tensors
    from clearhead.engine.weights.describe import described
    from clearhead.engine.weights.unpacking import arrays_of
    from clearhead.tasks.packed import digest_of

    packed = {array.ctypes.data for array in arrays_of(described(cast("Covered", model)))}
    rest = {name: tensor for name, tensor in model_tensors(model).items() if tensor.data_ptr() not in packed}
    return {"origin": digest_of(model)}, {REST: save(rest)} if rest else {}


def _whole(path: Path) -> ModelFile:
    """Opens a file from which a run can be made."""
    file = open_model(path)
    if file.weights != "float32":
        raise ModelError(
            f"{str(path)!r} holds {file.weights} weights, which translate, generate, fill, embed and classify read; "
            "this takes the run itself, or a file of `export --to file --quantize float32`"
        )
    if "origin" not in file.about:
        raise ModelError(f"{str(path)!r} holds packed weights alone: export it again with this version")
    return file


def _expand(file: ModelFile, run: Path) -> None:
    """Writes the run directory of a file."""
    from safetensors import SafetensorError

    from clearhead.checkpoint import Checkpoint, model_tensors, save_checkpoint
    from clearhead.runs.pointers import point_to

    try:
        step, model = int(file.about["step"]), _restored(file, run)
    except (KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise ModelError(f"{str(file.path)!r} is damaged: {str(error)[:200]}") from error
    checkpoint = run / "checkpoints" / f"step-{step:08d}"
    save_checkpoint(checkpoint, Checkpoint({"model": model_tensors(model)}, {"step": step}))
    point_to(run, "latest", checkpoint)
    where = f"Made of {file.path.name}, a file of `clearhead export --to file`; deleted when the cache is full.\n"
    write_text(run / "README.md", where)


def _restored(file: ModelFile, run: Path) -> "nn.Module":
    """Writes the recipe of a file and all that belongs to its text; returns the model with the file's weights."""
    from safetensors.torch import load

    from clearhead.checkpoint import load_matching
    from clearhead.engine.weights.describe import described
    from clearhead.engine.weights.unpacking import unpack
    from clearhead.runs.recipes import save_recipe
    from clearhead.tasks.catalog import family_of_recipe
    from clearhead.tasks.family import LearnedFamily
    from clearhead.tasks.packed import digest_of
    from clearhead.tasks.room import build_to_load

    about: dict[str, Any] = file.about
    tree = {key: value for key, value in about["recipe"].items() if key != "lora"}  # it is merged
    family = family_of_recipe(tree, repr(str(file.path)))
    if not isinstance(family, LearnedFamily):
        raise ModelError(f"{str(file.path)!r} is damaged: the task {tree.get('task')} has no weights")
    texts = {name: content for name, content in file.files.items() if _TEXT_PARTS.fullmatch(name)}
    for name, content in texts.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(content)
    for name, content in file.files.items():
        if _LEARNED.fullmatch(name):
            (run / name).write_bytes(content)
    facts = {"length_limit": about.get("lengths"), "end_marks": about.get("marks")}
    save_json(run / "data-report.json", {"train": {key: fact for key, fact in facts.items() if fact is not None}})
    save_recipe(run, tree, texts)
    recipe, parts = family.parse(tree, repr(str(file.path))), family.parts(run)
    model: nn.Module = build_to_load(family.build, recipe, parts.sizes)
    unpack(file.image, described(cast("Covered", model)))
    if REST in file.files:
        load_matching(model, load(file.files[REST]), str(file.path))
    if digest_of(model) != about["origin"]:
        raise ModelError(f"{str(file.path)!r} is damaged: its weights are not those that it was made of")
    return model
