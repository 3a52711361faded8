"""The one way to open a run for reading: its recipe, the checkpoint that is meant, and the weights in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from clearhead.checkpoint import Checkpoint, load_checkpoint, load_model_tensors, load_weights
from clearhead.config import Tree
from clearhead.errors import ModelError
from clearhead.nn.lora import merge_lora
from clearhead.runs.pointers import find_checkpoint
from clearhead.runs.recipes import load_recipe


@dataclass(frozen=True)
class SavedRun:
    """A run directory; a file of its checkpoint is checked once, when it is read, and only if it is read.

    ``clearhead checkpoints RUN --verify`` checks all of them.
    """

    path: Path
    tree: Tree
    """The resolved recipe."""
    which: str = "best"
    """The checkpoint that is meant: best, latest, or a name."""

    @classmethod
    def open(cls, path: Path, *, checkpoint: str = "best") -> "SavedRun":
        """Reads the recipe of a run.

        Raises:
            ModelError: ``path`` is not a run directory.
        """
        return cls(path, load_recipe(path), checkpoint)

    @property
    def task(self) -> str:
        """The word of its recipe that says what was trained; translation where it has none."""
        return str(self.tree.get("task", "translation"))

    @property
    def source(self) -> str:
        """What errors call the recipe."""
        return f"recipe of run {str(self.path)!r}"

    @cached_property
    def checkpoint(self) -> Path:
        """The directory of the checkpoint.

        Raises:
            ModelError: there is none yet, or not the one that is meant.
        """
        path = find_checkpoint(self.path, self.which)
        if path is None:
            raise ModelError(f"run {str(self.path)!r} has no checkpoint yet: train it, or go on with --resume")
        return path

    @property
    def trained_path(self) -> Path:
        """The directory of a run that has the checkpoint that is meant; raises as ``checkpoint`` does."""
        assert self.checkpoint
        return self.path

    def load_into(self, model: nn.Module) -> int:
        """Copies the weights, or their moving average where one was kept, into ``model``; returns their step.

        Where layers are adapted (LoRA), plain layers with the same function take their place.

        Raises:
            ModelError: there is no checkpoint yet, it is damaged, or it is of a model of another shape.
        """
        tensors, state = load_weights(self.checkpoint)
        load_model_tensors(model, tensors, f"checkpoint {str(self.checkpoint)!r}")
        merge_lora(model)
        return int(state["step"])

    def saved(self, *stems: str) -> Checkpoint:
        """Reads the tensor files of those names (model, ema, optimizer) that the checkpoint has, and its state.

        Raises:
            ModelError: see ``load_into``.
        """
        return load_checkpoint(self.checkpoint, stems)

    def tensors(self) -> Mapping[str, Tensor]:
        """Returns what ``load_into`` copies."""
        return load_weights(self.checkpoint)[0]
