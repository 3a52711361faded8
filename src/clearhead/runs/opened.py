"""Opens a run for reading: its recipe, the selected checkpoint, and the weights in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from clearhead.brief import Brief
from clearhead.checkpoint import (
    Checkpoint,
    adopt_model_tensors,
    load_checkpoint,
    load_model_tensors,
    load_weights,
)
from clearhead.config import Tree
from clearhead.errors import ModelError
from clearhead.nn.lora import merge_lora
from clearhead.runs.pointers import find_checkpoint
from clearhead.runs.recipes import load_recipe


@dataclass(frozen=True)
class SavedRun(Brief):
    """A run directory opened for reading.

    A checkpoint file is verified once, when it is read; files that are not read are not verified. ``clearhead
    checkpoints RUN --verify`` verifies all files.
    """

    path: Path
    tree: Tree
    """The resolved recipe."""
    which: str = "best"
    """The selected checkpoint: best, latest, or a checkpoint's name."""

    @classmethod
    def open(cls, path: Path, *, checkpoint: str = "best") -> "SavedRun":
        """Reads the recipe of a run.

        Raises:
            ModelError: ``path`` is not a run directory.
        """
        return cls(path, load_recipe(path), checkpoint)

    @property
    def task(self) -> str:
        """The recipe's key ``task``; translation if it has none."""
        return str(self.tree.get("task", "translation"))

    @property
    def source(self) -> str:
        """The name of the recipe in error messages."""
        return f"recipe of run {str(self.path)!r}"

    @cached_property
    def checkpoint(self) -> Path:
        """The directory of the checkpoint.

        Raises:
            ModelError: the run has no checkpoint yet, or not the selected one.
        """
        path = find_checkpoint(self.path, self.which)
        if path is None:
            raise ModelError(f"run {str(self.path)!r} has no checkpoint yet: train it, or go on with --resume")
        return path

    @property
    def trained_path(self) -> Path:
        """The run directory, once the selected checkpoint is known to exist; raises as ``checkpoint`` does."""
        assert self.checkpoint
        return self.path

    def load_into(self, model: nn.Module, *, mapped: bool = False) -> int:
        """Copies the weights, or their moving average if the run kept one, into ``model``; returns their step.

        Layers with LoRA are replaced by plain layers that compute the same.

        Args:
            model: of the run's recipe.
            mapped: leaves weights in the mapped file, which the system reads where they are needed, and copies none.

        Raises:
            ModelError: the run has no checkpoint yet, it is damaged, or its model has another shape.
        """
        tensors, state = load_weights(self.checkpoint)
        load = adopt_model_tensors if mapped else load_model_tensors
        load(model, tensors, f"checkpoint {str(self.checkpoint)!r}")
        merge_lora(model)
        return int(state["step"])

    def saved(self, *stems: str) -> Checkpoint:
        """Reads the named tensor files (model, ema, optimizer), as far as the checkpoint has them, and its state.

        Raises:
            ModelError: see ``load_into``.
        """
        return load_checkpoint(self.checkpoint, stems)

    def tensors(self) -> Mapping[str, Tensor]:
        """Returns the tensors that ``load_into`` copies."""
        return load_weights(self.checkpoint)[0]
