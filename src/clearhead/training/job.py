"""What every training task gives to ``clearhead train``: a run with its data read and its model built."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from clearhead.checkpoint import LoadReport
from clearhead.config import as_tree
from clearhead.data.batching import BatchPlan
from clearhead.data.loading import load
from clearhead.data.masked import MaskedBatch
from clearhead.data.stream import StreamBatch
from clearhead.errors import UsageError
from clearhead.optim.build import OptimConfig, RateOf, build_ema, build_optimizers, same_rate
from clearhead.runs.card import CardFacts, trained_card
from clearhead.runs.directory import save_json
from clearhead.runs.recipes import save_recipe
from clearhead.runs.text_parts import TextParts
from clearhead.training.arrangement import arrange, check_arrangement
from clearhead.training.config import TrainConfig, ValidationConfig
from clearhead.training.distributed import ranks
from clearhead.training.events import Event
from clearhead.training.loop import Work, train_loop
from clearhead.training.state import TrainState
from clearhead.training.step import SizedBatch

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B", bound=SizedBatch)


@runtime_checkable
class Recipe(Protocol):
    """What the recipes of all models that learn by gradients have in common."""

    @property
    def optim(self) -> OptimConfig:
        """By what means is learned."""

    @property
    def train(self) -> TrainConfig:
        """How long and how much at a time."""

    @property
    def validation(self) -> ValidationConfig:
        """How the run is judged."""


@runtime_checkable
class Report(Protocol):
    """What was read and what became of it."""

    def lines(self) -> list[str]:
        """For a terminal."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""


@runtime_checkable
class Progressed(Protocol):
    """How far a run is."""

    step: int
    seconds: float
    scores: dict[str, float]


@dataclass(frozen=True)
class Job(ABC):
    """A run before its training, or before the rest of it."""

    recipe: Any
    """Has ``name`` and ``about``."""

    parts: TextParts
    """Tokenizers and labels."""

    @property
    @abstractmethod
    def progress(self) -> Progressed:
        """How far it is; ``fit`` changes it."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Numbers that are learned."""

    @property
    @abstractmethod
    def max_steps(self) -> int:
        """Steps of the whole run."""

    @property
    def targets(self) -> str:
        """What is counted while it trains."""
        return "tokens"

    @abstractmethod
    def fit(self, run: Path, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Trains, keeps what is learned in the run, and yields what happens; ``should_stop`` may end it early."""

    @abstractmethod
    def reports(self) -> Mapping[str, Report]:
        """What was read, by split; ``train`` is among them."""

    @abstractmethod
    def vocabulary(self) -> str:
        """The vocabulary in a few words."""

    @abstractmethod
    def headline(self) -> str:
        """The model in one line, for a terminal."""

    @abstractmethod
    def facts(self) -> CardFacts:
        """What the model card says besides figures."""

    def card(self, run: Path) -> str:
        """The model card, in Markdown."""
        done = self.progress
        return trained_card(
            run,
            self.facts(),
            about=self.recipe.about,
            parameters=self.parameters,
            steps=done.step,
            minutes=done.seconds / 60,
            scores=done.scores,
            text=self.reports()["train"].lines(),
        )

    def warnings(self) -> list[str]:
        """What a person should know before this is trained."""
        digests = {split: report.as_dict().get("digest") for split, report in self.reports().items()}
        train = digests.pop("train", None)
        return [
            f"warning: the split {split!r} is the training text itself: its scores say nothing about other text"
            for split, digest in digests.items()
            if train and digest == train
        ]

    def save(self, run: Path) -> None:
        """Keeps recipe, tokenizers, labels and data report in the run."""
        save_recipe(run, as_tree(self.recipe))
        self.parts.save(run)
        save_json(run / "data-report.json", {split: report.as_dict() for split, report in self.reports().items()})


@dataclass(frozen=True)
class GradientJob(Job, Generic[M, B]):
    """The job of a model M that learns step by step, on batches B."""

    state: TrainState
    device: torch.device
    train: Any
    """The training split, encoded."""
    valid: Any
    taken: LoadReport | None = None
    """What was taken over from the model that this one starts from."""

    @property
    def model(self) -> M:
        """The model in training."""
        return cast(M, self.state.model)

    @abstractmethod
    def loss(self, batch: B) -> tuple[Tensor, int]:
        """Returns (sum of the loss of the model in training over real targets, their number)."""

    @abstractmethod
    def evaluate(self, model: M) -> Mapping[str, float]:
        """Returns the scores of ``model`` on the valid split, ``loss`` among them."""

    def where(self, batch: B) -> str:
        """Says which lines of the text the rows of a batch are of, in a few words."""
        return ""

    def work(self) -> Work[B]:
        """Gives the loop its batches, its loss and its evaluation."""
        return Work(self.batches, self.loss, lambda model: self.evaluate(cast(M, model)), where=self.where)

    @property
    @abstractmethod
    def width(self) -> int:
        """Positions of the widest row that a batch may have."""

    @abstractmethod
    def first_epoch(self) -> tuple[BatchPlan, int]:
        """The plan of the first epoch, and which of its batches takes the most memory."""

    @abstractmethod
    def dataset(self, epoch: int) -> Dataset[B]:
        """The batches of an epoch: item ``i`` is batch ``i``."""

    def reports(self) -> Mapping[str, Report]:
        """See ``Job``."""
        return {"train": self.train.report, "valid": self.valid.report}

    def vocabulary(self) -> str:
        """See ``Job``; names what was taken over from the model that training starts from."""
        size = self.parts.tokenizer.size()
        return f"{size}, {self.taken.line()}" if self.taken else size

    @property
    def progress(self) -> TrainState:
        """See ``Job``."""
        return self.state

    @property
    def parameters(self) -> int:
        """See ``Job``."""
        return sum(parameter.numel() for parameter in self.state.model.parameters())

    @property
    def max_steps(self) -> int:
        """See ``Job``."""
        return self.settings.max_steps

    @property
    def settings(self) -> TrainConfig:
        """The table ``train`` of the recipe, with what follows from the text."""
        settings: TrainConfig = self.recipe.train
        return settings

    def batches(self, epoch: int, start: int) -> Iterator[B]:
        """Yields an epoch's batches from number ``start`` on, this process's rows of them, on the job's device."""
        pinned, workers = self.device.type == "cuda", self.recipe.data.workers
        loaded: Iterator[Any] = load(
            self.dataset(epoch), start=start, workers=workers, pin_memory=pinned, share=ranks().share
        )
        return (batch.to(self.device) for batch in loaded)

    def arrange(self) -> None:
        """Brings the model, which no step has changed yet, to all processes, and arranges how it is computed."""
        state, machine = self.state, self.settings
        ranks().broadcast(state.model)
        state.loss_module = arrange(state.model, machine)
        if state.ema is not None:
            ranks().broadcast(state.ema.module)
            # the average is judged in float32, as it is on one process
            judged = replace(machine, checkpoint_activations=False, precision="float32")
            state.evaluated_loss_module = arrange(state.ema.module, judged)
        state.optimizers.point_at(state.model)

    def headline(self) -> str:
        """See ``Job``."""
        return f"model: {self.parameters:,} parameters, {self.vocabulary()}, on {self.device}"

    def fit(self, run: Path, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """See ``Job``."""
        recipe: Recipe = self.recipe
        return train_loop(
            self.state,
            self.work(),
            run,
            self.settings,
            optim=recipe.optim,
            validation=recipe.validation,
            should_stop=should_stop,
        )


def listed(what: str, numbers: Iterable[int], most: int = 20) -> str:
    """Returns the first numbers of lines or documents as text."""
    distinct = sorted(set(numbers))
    rest = f" and {len(distinct) - most} more" if len(distinct) > most else ""
    return f"{what} {', '.join(map(str, distinct[:most]))}{rest}"


def documents_of(batch: StreamBatch | MaskedBatch) -> str:
    """Returns which documents the rows of a batch begin in."""
    return "" if batch.documents is None else listed("documents", batch.documents.tolist())


def fresh_state(model: nn.Module, recipe: Recipe, rate_of: RateOf = same_rate) -> TrainState:
    """Returns a state at step 0 with the recipe's optimizers and weight average."""
    check_arrangement(model, recipe.train, recipe.validation)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        count = sum(parameter.numel() for parameter in model.parameters())
        raise UsageError(f"model: all its {count} parameters are frozen, there is nothing to train")
    optimizers = build_optimizers(model, recipe.optim, recipe.train.lr, rate_of)
    ema = build_ema(model, recipe.optim.ema_decay) if recipe.optim.ema_decay else None
    return TrainState(model, optimizers, ema)
