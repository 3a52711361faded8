"""A run in progress: model, optimizers and position, saved to and restored from checkpoints."""

import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from clearhead.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_model_tensors,
    model_tensors,
)
from clearhead.errors import ModelError
from clearhead.nn.shards import whole
from clearhead.optim.build import Optimizers
from clearhead.training.generators import generator_states, restore_generators
from clearhead.training.length.budget import Sizing
from clearhead.version import VERSION

NUMBERS = ("step", "epoch", "position", "seconds", "scores", "best_score", "best_step", "evaluations_since_best")


@dataclass
class TrainState:
    """Everything that a step changes."""

    model: nn.Module
    optimizers: Optimizers
    ema: AveragedModel | None = None
    loss_module: nn.Module | None = None
    """The module that losses of ``model`` run in, from ``arrange``; None runs them directly."""
    evaluated_loss_module: nn.Module | None = None
    """The same for the averaged model."""
    step: int = 0
    """Optimizer steps taken."""
    epoch: int = 0
    position: int = 0
    """Batches of this epoch already used, up to the end of a step."""
    seconds: float = 0.0
    """Spent in training, evaluations and checkpoints included, resumed runs added up."""
    sizing: Sizing | None = None
    """What was decided about the length of a run with a budget of time."""
    scores: dict[str, float] = field(default_factory=dict)
    """Of the last evaluation."""
    best_score: float | None = None
    best_step: int = 0
    evaluations_since_best: int = 0
    evaluated_step: int = 0
    """Step of the last evaluation."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the gradient scaler as JSON values, where one is used."""
    skipped: int = 0
    """Steps skipped since the last one that was taken."""
    max_steps: int = 0
    """Last step of the run, which a recipe may leave to the length of its text; 0 until the run trains."""
    judged_on: dict[str, Any] = field(default_factory=dict)
    """What scores depend on besides the weights, as JSON values: the valid text, keys of the recipe."""

    @property
    def evaluated_model(self) -> nn.Module:
        """The moving average of the model if there is one, else the model."""
        return self.model if self.ema is None else self.ema.module

    def snapshot(self) -> Checkpoint:
        """Copies everything, so that it can be written while training goes on."""
        tensors = {"model": model_tensors(self.model), "optimizer": self.optimizers.state_tensors()}
        if self.ema is not None:
            tensors["ema"] = model_tensors(self.ema.module)
        copies = {
            stem: {name: whole(tensor.detach()).to("cpu", copy=True) for name, tensor in named_tensors.items()}
            for stem, named_tensors in tensors.items()
        }
        state = {
            **{
                name: getattr(self, name)
                for name in (*NUMBERS, "evaluated_step", "skipped", "scaler", "max_steps", "judged_on")
            },
            "scores": dict(self.scores),
            "sizing": self.sizing and self.sizing.as_dict(),
            "schedule": {"lr": [group["lr"] for part in self.optimizers.parts for group in part.param_groups]},
            "ema_updates": None if self.ema is None else int(self.ema.n_averaged),
            "without_optimizer_state": self.optimizers.without_state(),
            "generators": generator_states(),
            "environment": environment(self.model),
        }
        return Checkpoint(copies, state)

    def restore(self, path: Path, *, verify: bool = True) -> list[str]:
        """Takes everything from the checkpoint at ``path``.

        Args:
            path: its directory.
            verify: False where all its files have just been verified.

        Returns:
            A line for each difference of the environment that may change the last bits of later numbers, and one if
            the scores so far were of another text or by another measure, so that the best is chosen anew.

        Raises:
            ModelError: the checkpoint is damaged or belongs to another model.
        """
        saved = load_checkpoint(path, verify=verify)
        try:
            self._take(saved)
        except KeyError as error:
            raise ModelError(
                f"checkpoint {str(path)!r} has no {error}: it is not one that training can go on from"
            ) from error
        except ModelError as error:
            raise ModelError(f"checkpoint {str(path)!r}: {error}") from error
        before, now = saved.state.get("environment", {}), environment(self.model)
        other = self._forget_scores(saved.state.get("judged_on", {}))
        return other + [
            f"checkpoint {path.name} was written under {name} {before[name]} (now {now.get(name)})"
            for name in before
            if before[name] != now.get(name)
        ]

    def _forget_scores(self, before: dict[str, Any]) -> list[str]:
        """Forgets all scores if they were measured in another way than those to come; says so in a line."""
        differing = [key for key in before if key in self.judged_on and before[key] != self.judged_on[key]]
        if not differing:
            return []
        self.scores, self.evaluated_step = {}, 0
        if self.best_score is None:
            return []
        step, self.best_score, self.best_step, self.evaluations_since_best = self.best_step, None, 0, 0
        return [
            f"{', '.join(differing)} changed: the best so far, step {step}, does not count, the best is chosen anew"
        ]

    def _take(self, saved: Checkpoint) -> None:
        state, slots = saved.state, dict(saved.tensors["optimizer"])
        load_model_tensors(self.model, saved.tensors["model"], "model")
        updates = slots.pop("ema/updates", None)  # format 1 had it there
        if self.ema is not None:
            if "ema" not in saved.tensors:
                raise ModelError("there is no weight average in it: optim.ema_decay was 0")
            load_model_tensors(self.ema.module, saved.tensors["ema"], "ema")
            self.ema.n_averaged.fill_(int(state["ema_updates"] if updates is None else updates))
        self.optimizers.load_state_tensors(slots, without=state.get("without_optimizer_state"))
        for name in NUMBERS:
            setattr(self, name, state[name])
        # format 1 did not say; all its checkpoints had been evaluated but those of interrupted runs
        self.evaluated_step, self.scaler = state.get("evaluated_step", self.step), state.get("scaler", {})
        self.skipped = state.get("skipped", 0)
        self.sizing = Sizing.from_dict(state["sizing"]) if state.get("sizing") else None
        groups = [group for part in self.optimizers.parts for group in part.param_groups]
        for group, lr in zip(groups, state.get("schedule", {}).get("lr", []), strict=False):
            group["lr"] = lr
        if "generators" in state:
            restore_generators(state["generators"])


def environment(model: nn.Module) -> dict[str, str]:
    """Returns versions and hardware: what the bits of a run depend on besides recipe and text."""
    device = next(model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "clearhead": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "tokenizers": tokenizers.__version__,
        "device": name,
        "threads": str(torch.get_num_threads()),
    }
