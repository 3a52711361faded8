"""A run in progress: model, optimizers and position, saved to and restored from checkpoints."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel

from clearhead.checkpoint import (
    Checkpoint,
    checkpoints_of,
    load_checkpoint,
    load_model_tensors,
    model_tensors,
    save_checkpoint,
)
from clearhead.errors import ModelError
from clearhead.optim.build import Optimizers


@dataclass
class TrainState:
    """Everything that a step changes."""

    model: nn.Module
    optimizers: Optimizers
    ema: AveragedModel | None = None
    step: int = 0
    """Optimizer steps taken."""
    epoch: int = 0
    position: int = 0
    """Batches of this epoch already used."""
    seconds: float = 0.0
    """Time spent in the loop, over all its starts."""
    scores: dict[str, float] = field(default_factory=dict)
    """Of the last evaluation."""
    best_score: float | None = None
    best_step: int = 0
    evaluations_since_best: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the gradient scaler as JSON values, where one is used."""
    skipped: int = 0
    """Steps skipped since the last one that was taken; a resumed run counts from 0."""

    @property
    def evaluated_model(self) -> nn.Module:
        """The average of the weights where one is kept, else the weights."""
        return self.model if self.ema is None else self.ema.module

    def save(self, run: Path, keep_last: int) -> Path:
        """Writes a checkpoint, moves ``latest`` (and ``best``) to it, then drops old ones.

        The best checkpoint and the newest ``keep_last`` are never dropped.
        """
        path = run / "checkpoints" / f"step-{self.step:08d}"
        tensors = {"model": model_tensors(self.model), "optimizer": self.optimizers.state_tensors()}
        if self.ema is not None:
            tensors["ema"] = model_tensors(self.ema.module)
            tensors["optimizer"]["ema/updates"] = self.ema.n_averaged
        save_checkpoint(path, Checkpoint(tensors, self._numbers()))
        point_to(run, "latest", path)
        if self.best_step == self.step:
            point_to(run, "best", path)
        best = run / "checkpoints" / f"step-{self.best_step:08d}"
        for old in checkpoints_of(run)[:-keep_last]:
            if old not in (best, path):
                shutil.rmtree(old, ignore_errors=True)
        return path

    def restore(self, path: Path) -> None:
        """Takes everything from the checkpoint at ``path``.

        Raises:
            ModelError: the checkpoint is damaged or belongs to another model.
        """
        saved = load_checkpoint(path)
        load_model_tensors(self.model, saved.tensors["model"], str(path))
        slots = dict(saved.tensors["optimizer"])
        updates = slots.pop("ema/updates", None)
        if self.ema is not None:
            if updates is None:
                raise ModelError(f"checkpoint {str(path)!r} has no weight average: optim.ema_decay was 0")
            load_model_tensors(self.ema.module, saved.tensors["ema"], str(path))
            self.ema.n_averaged.copy_(updates)
        try:
            self.optimizers.load_state_tensors(slots)
        except KeyError as error:
            raise ModelError(f"checkpoint {str(path)!r}: optimizer state of an unknown parameter {error}") from error
        for name, value in saved.state.items():
            setattr(self, name, value)

    def _numbers(self) -> dict[str, Any]:
        names = (
            "step",
            "epoch",
            "position",
            "seconds",
            "scores",
            "best_score",
            "best_step",
            "evaluations_since_best",
            "scaler",
        )
        return {name: getattr(self, name) for name in names}


def find_checkpoint(run: Path, which: str = "best") -> Path | None:
    """Returns the checkpoint that ``which`` points to (best, latest or a directory's name), None without any.

    A run without a best one yet gives its latest.

    Raises:
        ModelError: ``which`` names a checkpoint that is not there.
    """
    pointer = run / "checkpoints" / which
    if pointer.is_dir():
        return pointer
    if pointer.is_file():
        return run / "checkpoints" / pointer.read_text(encoding="utf-8").strip()
    if which == "best":
        return find_checkpoint(run, "latest")
    if which == "latest":
        return None
    known = ", ".join(path.name for path in checkpoints_of(run))
    raise ModelError(f"run {str(run)!r} has no checkpoint {which!r}; it has {known or 'none'}")


def point_to(run: Path, name: str, path: Path) -> None:
    """Makes ``name`` (latest, best) stand for the checkpoint at ``path``."""
    beside = run / "checkpoints" / f"{name}.tmp"
    beside.write_text(path.name + "\n", encoding="utf-8")
    beside.replace(run / "checkpoints" / name)
