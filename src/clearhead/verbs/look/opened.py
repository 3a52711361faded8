"""A trained run opened to be looked into, whatever its family: its model, and what that is called with."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.checkpoint import load_model_tensors
from clearhead.errors import DataError, ModelError
from clearhead.inspect.attend.numbers import Pick
from clearhead.optim.build import build_optimizers
from clearhead.progress import Progress, silent
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import ModelSizes
from clearhead.tasks.catalog import AnyLearnedFamily, family_of_run
from clearhead.tasks.expanded import open_run
from clearhead.tasks.family import LearnedFamily, Trained
from clearhead.tasks.room import build_to_load
from clearhead.tasks.sample import Sample, Shape
from clearhead.training.config import TrainConfig
from clearhead.training.length.budget import Sizing
from clearhead.training.precision import Precision
from clearhead.training.state import TrainState


@dataclass(frozen=True)
class Choice:
    """What some views look at, where they do not show everything."""

    pick: Pick = field(default_factory=Pick)
    """Of ``query`` and ``jacobian``: which query of which head."""
    module: str | None = None
    """Of ``hooks``: whose; None: the first linear layer."""
    beside: tuple[Path, ...] = ()
    """Of ``parts``: the other runs."""


@dataclass(frozen=True)
class Opened:
    """A run with everything that a view may need."""

    run: SavedRun
    family: AnyLearnedFamily
    trained: Trained
    sample: Sample
    """What the model reads."""
    progress: Progress = silent
    """Called by a view that takes long, with how much is done and of how much."""
    choice: Choice = Choice()

    @classmethod
    def open(
        cls,
        path: Path,
        text: str | None = None,
        *,
        shape: Shape | None = None,
        progress: Progress = silent,
        choice: Choice = Choice(),
        checkpoint: str,
        device: str,
    ) -> "Opened":
        """Loads a run.

        Args:
            path: its directory.
            text: what the model reads; None: random pieces.
            shape: how many random pieces.
            progress: see ``progress``.
            choice: what some views look at.
            checkpoint: best, latest, or a checkpoint's name.
            device: see ``pick_device``.

        Raises:
            DataError: the text is empty.
            ModelError: see ``load``; or the run has no weights.
        """
        if text is not None and not text.strip():
            raise DataError("text '': is empty")
        run = open_run(path, checkpoint=checkpoint)
        family = family_of_run(run)
        if not isinstance(family, LearnedFamily):
            raise ModelError(f"run {str(path)!r}: an n-gram model has counts and no modules to look into")
        return cls(run, family, family.load(run, device=device), Sample(text, shape or Shape()), progress, choice)

    @property
    def text(self) -> str | None:
        """What the model reads; None: random pieces."""
        return self.sample.text

    @property
    def model(self) -> nn.Module:
        """In evaluation mode."""
        model: nn.Module = self.trained.model
        return model

    @property
    def recipe(self) -> Any:
        """Its tables ``optim`` and ``train`` are those of every task; see ``settings`` for the length of the run."""
        return self.trained.recipe

    @cached_property
    def settings(self) -> TrainConfig:
        """The recipe's table ``train`` with the last step that the run trained to, or trains to."""
        settings: TrainConfig = self.recipe.train
        last = self.run.saved().state.get("max_steps")  # not in checkpoints of before, nor of imported models
        warmup = self.sizing.warmup_steps if self.sizing else settings.warmup_steps
        return replace(settings, max_steps=int(last), warmup_steps=warmup) if last else settings

    @cached_property
    def sizing(self) -> Sizing | None:
        """What was decided about the length of a run with a budget of time."""
        made = self.run.saved().state.get("sizing")
        return Sizing.from_dict(made) if made else None

    @cached_property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @cached_property
    def batch(self) -> Any:
        """One batch as in training: of the text, or of random pieces that do not change from call to call.

        Raises:
            DataError: the text has more pieces than the model has room for.
        """
        with torch.inference_mode(False):  # since autograd refuses what was made inside of it
            return self.family.batch_of(self.trained, self.sample).to(self.device)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What the model's ``forward`` takes by name."""
        return self.family.inputs(self.batch)

    @cached_property
    def sizes(self) -> ModelSizes:
        """What the model takes over from its text."""
        return self.family.parts(self.run.path).sizes

    @property
    def tokens(self) -> int:
        """Positions that the model reads: of an encoder-decoder on both sides."""
        names = ("src_ids", "tgt_ids", "ids")
        return sum(tensor.numel() for name, tensor in self.inputs.items() if name in names)

    def learner(self, *, with_state: bool) -> TrainState:
        """Returns the run as its training would go on: the weights before any average and merge, with the optimizers.

        Args:
            with_state: whether the optimizers have the state of the checkpoint, as far as it has one.
        """
        family, recipe = self.family, self.recipe
        model = build_to_load(family.build, recipe, self.sizes)
        saved = self.run.saved("model", "optimizer") if with_state else self.run.saved("model")
        load_model_tensors(model, saved.tensors["model"], str(self.run.checkpoint))
        model.to(self.device)
        optimizers = build_optimizers(model, recipe.optim, recipe.train.lr, family.rates(recipe))
        state = TrainState(model, optimizers)
        state.step = int(saved.state["step"])
        slots = dict(saved.tensors.get("optimizer", {}))
        slots.pop("ema/updates", None)
        state.optimizers.load_state_tensors(slots)
        return state

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The mean loss of training, on ``model`` as it is."""
        recipe = self.recipe
        with Precision(recipe.train.numbers, self.device.type).autocast():
            total, count = self.family.loss(model, batch, recipe, self.sizes)
        return total / count
