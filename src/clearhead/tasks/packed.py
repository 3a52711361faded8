"""Packed weights of a run in a file: written by who has the model in PyTorch, mapped by all who come later."""

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.brief import Brief
from clearhead.config import Tree, as_tree
from clearhead.engine.library import fault
from clearhead.engine.weights.file import FORMAT, LAYOUT, ModelFile, open_model, write_model
from clearhead.engine.weights.image import Image
from clearhead.errors import ClearheadError, DataError, ModelError
from clearhead.files import remove
from clearhead.progress import silent
from clearhead.runs.packed import make_room, packed_path

if TYPE_CHECKING:
    from torch import nn

    from clearhead.engine.choose import Choice, Weights
    from clearhead.runs.opened import SavedRun


@dataclass(frozen=True)
class Packing(Brief):
    """What stands in the file of a run's packed weights, and where it is kept."""

    run: Path
    checkpoint: str
    about: Tree
    """What its users must know: JSON values."""
    files: Mapping[str, bytes]
    """Small files of the run, by their path in it."""
    origin: Mapping[str, str]
    """Digest of the model as it was loaded, for each kind of weights that is not kept yet."""

    @classmethod
    def of(
        cls, run: "SavedRun", model: "nn.Module", weights: "Weights | None", about: Tree, files: Mapping[str, bytes]
    ) -> "Packing":
        """Returns what stands in the file of a run.

        Args:
            run: that is open.
            model: with the run's weights.
            weights: how the native engine is to hold them; None: it does not compute.
            about: see above.
            files: likewise.
        """
        path = None if weights is None else kept_path(run.path, run.which, weights)
        missing = path is not None and not path.is_file()
        return cls(run.path, run.which, about, files, {str(weights): digest_of(model)} if missing else {})

    def image(self, choice: "Choice[Any]", release: Callable[[], object] = silent) -> Image:
        """Returns the packed weights of a model: those of the file, which is written first if there is none.

        Where no file can be written they are in this process's own memory.

        Args:
            choice: of the model.
            release: called after each layer that was packed, see ``Choice.image``.
        """
        path, now = kept_path(self.run, self.checkpoint, choice.weights), digest_of(choice.model)
        if path is not None and path.is_file() and (file := _whole(path)) is not None and file.about["origin"] == now:
            return file.image
        image = choice.image(release)
        if path is None or self.origin.get(choice.weights) != now:  # somebody has changed the model since
            return image
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_model(path, image, {**self.about, "origin": now}, self.files)
            make_room(path.parent)
            return open_model(path).image
        except (OSError, DataError, ModelError):
            return image


def digest_of(model: "nn.Module") -> str:
    """Returns the SHA-256 of all weights of a model."""
    from clearhead.checkpoint import model_tensors

    checksum = hashlib.sha256()
    for name, tensor in model_tensors(model).items():
        checksum.update(name.encode())
        checksum.update(tensor.contiguous().numpy().data)
    return checksum.hexdigest()


def about_run(task: str, recipe: Any, step: int, **facts: Any) -> Tree:
    """Returns what a file of packed weights says of a run.

    Args:
        task: the recipe's word for it.
        recipe: all of it, as a dataclass.
        step: training step of the weights.
        facts: what those need who have no recipe class; JSON values.
    """
    return {"task": task, "name": recipe.name, "step": step, **facts, "recipe": as_tree(recipe)}


def kept(run: Path, checkpoint: str, weights: "Weights") -> ModelFile | None:
    """Returns the packed weights of a run's checkpoint if they are kept and the native engine computes here."""
    with contextlib.suppress(ClearheadError):
        path = kept_path(run, checkpoint, weights)
        if not fault() and path is not None and path.is_file():
            return _whole(path)
    return None


def kept_path(run: Path, checkpoint: str, weights: str) -> Path | None:
    """See ``packed_path``."""
    return packed_path(run, checkpoint, kind=f"{weights} {FORMAT}.{LAYOUT}")


def _whole(path: Path) -> ModelFile | None:
    """Opens a file; one that is damaged is deleted, as it can be made anew."""
    try:
        return open_model(path)
    except ModelError:
        remove(path)
        return None
