"""The job of a training run: its text is read, its model is built, and ``fit`` trains it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from clearhead.checkpoint import LoadReport
from clearhead.config import as_tree, value_at
from clearhead.data.batching import BatchPlan
from clearhead.data.loading import load
from clearhead.data.masked import MaskedBatch
from clearhead.data.stream import StreamBatch
from clearhead.errors import UsageError
from clearhead.nn.norm import norms_of
from clearhead.optim.build import OptimConfig, RateOf, build_ema, build_optimizers, same_rate
from clearhead.runs.card import CardFacts, Training, trained_card
from clearhead.runs.directory import save_json
from clearhead.runs.recipes import save_recipe
from clearhead.runs.text_parts import TextParts
from clearhead.training.arrangement import arrange, check_arrangement
from clearhead.training.config import TrainConfig, ValidationConfig
from clearhead.training.device import resident
from clearhead.training.distributed import ranks
from clearhead.training.events import Event, SampledLine
from clearhead.training.length.budget import UNBOUNDED
from clearhead.training.loop import Work, train_loop
from clearhead.training.precision import Decision, Precision, decide, multiply
from clearhead.training.samples.making import no_samples
from clearhead.training.samples.shown import history
from clearhead.training.state import TrainState
from clearhead.training.step import SizedBatch
from clearhead.training.writers import read_metrics

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B", bound=SizedBatch)


@runtime_checkable
class Recipe(Protocol):
    """The keys that the recipes of all gradient-trained models share."""

    @property
    def optim(self) -> OptimConfig:
        """The optimizer, its schedule and the moving average of the weights."""

    @property
    def train(self) -> TrainConfig:
        """Length of the run, size of its batches, learning rate, device and precision."""

    @property
    def validation(self) -> ValidationConfig:
        """Which score chooses the best checkpoint, and when training stops early."""


@runtime_checkable
class Report(Protocol):
    """What was read from a split, and what was dropped or cut."""

    def lines(self) -> list[str]:
        """Returns the report as text for a terminal."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as plain values, for JSON."""


@runtime_checkable
class Progressed(Protocol):
    """The progress of a run."""

    step: int
    seconds: float
    scores: dict[str, float]
    evaluated_step: int
    """Step of the last evaluation."""


@dataclass(frozen=True)
class Job(ABC):
    """A run that is ready to be trained, or to be resumed."""

    recipe: Any
    """Has ``name`` and ``about``."""

    parts: TextParts
    """Tokenizers and labels."""

    @property
    @abstractmethod
    def progress(self) -> Progressed:
        """The progress of the run, which ``fit`` updates."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """The number of parameters."""

    @property
    @abstractmethod
    def max_steps(self) -> int:
        """Steps of the whole run."""

    @property
    def targets(self) -> str:
        """The unit in which training speed is counted."""
        return "tokens"

    @abstractmethod
    def fit(self, run: Path, should_stop: Callable[[], bool]) -> Iterator[Event]:
        """Trains the model, saves it in the run, and yields training events; ``should_stop`` may end it early."""

    @abstractmethod
    def reports(self) -> Mapping[str, Report]:
        """Returns the report on the text of each split, ``train`` included."""

    @abstractmethod
    def vocabulary(self) -> str:
        """Describes the vocabulary in a few words."""

    @abstractmethod
    def headline(self) -> str:
        """Describes the model in one line, for a terminal."""

    @abstractmethod
    def facts(self) -> CardFacts:
        """Returns the facts about the model for its model card."""

    def card(self, run: Path) -> str:
        """Returns the model card, in Markdown."""
        done, metrics, facts = self.progress, run / "metrics.jsonl", self.facts()
        if own := getattr(self.recipe, "own", None):
            facts = replace(facts, sizes=f"{facts.sizes}, {own}")
        return trained_card(
            run,
            facts,
            about=self.recipe.about,
            done=Training(self.parameters, done.step, done.seconds / 60, done.scores),
            text=self.reports()["train"].lines(),
            samples=history(read_metrics(metrics) if metrics.exists() else []),
        )

    def decided(self) -> list[str]:
        """Returns lines on what was decided for this machine."""
        return []

    def warnings(self) -> list[str]:
        """Returns warnings to show before training."""
        digests = {split: report.as_dict().get("digest") for split, report in self.reports().items()}
        train = digests.pop("train", None)
        return [
            f"warning: the split {split!r} is the training text itself: its scores say nothing about other text"
            for split, digest in digests.items()
            if train and digest == train
        ]

    def save(self, run: Path) -> None:
        """Writes recipe, tokenizers, labels and data report to the run directory."""
        save_recipe(run, as_tree(self.recipe), self.parts.contents())
        self.parts.save(run)
        save_json(run / "data-report.json", {split: report.as_dict() for split, report in self.reports().items()})


@dataclass(frozen=True)
class GradientJob(Job, Generic[M, B]):
    """The job of a model of type M that is trained by gradient descent on batches of type B."""

    state: TrainState
    device: torch.device
    train: Any
    """The training split, encoded."""
    valid: Any
    taken: LoadReport | None = None
    """Which weights were copied from the model that training starts from."""
    precision: Decision | None = None
    """How ``train.precision = "auto"`` was decided; None where the recipe says the precision."""
    kept: int = 0
    """Bytes of the heap that this decision has used, and that steps will use again."""
    judging: ClassVar[tuple[str, ...]] = ("validation.monitor", "model.max_seq_len")
    """Keys of the recipe by which the valid split is read and scored."""

    def __post_init__(self) -> None:
        self.state.judged_on = self._judged_on()

    def _judged_on(self) -> dict[str, Any]:
        """What scores depend on besides the weights; see ``TrainState.judged_on``."""
        text = self.reports()["valid"].as_dict().get("digest")
        tree = as_tree(self.recipe)
        return {"the text of the valid split": text, **{key: value_at(tree, key) for key in self.judging}}

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

    def sample(self, model: M) -> tuple[Sequence[SampledLine], Mapping[str, float]]:
        """Returns what ``model`` makes of a few lines of the valid split, the same at every call, and their scores."""
        return no_samples(model)

    def where(self, batch: B) -> str:
        """Describes in a few words which lines of the text a batch contains."""
        return ""

    def work(self) -> Work[B]:
        """Returns the batches, the loss and the evaluation for the training loop."""
        return Work(
            self.batches,
            self.loss,
            lambda model: self.evaluate(cast(M, model)),
            where=self.where,
            sample=lambda model: self.sample(cast(M, model)),
        )

    @property
    @abstractmethod
    def width(self) -> int:
        """The number of positions in the longest row that a batch may have."""

    @abstractmethod
    def first_epoch(self) -> tuple[BatchPlan, int]:
        """Returns the batch plan of the first epoch, and the index of the batch that takes the most memory."""

    @abstractmethod
    def dataset(self, epoch: int) -> Dataset[B]:
        """Returns the batches of an epoch: item ``i`` is batch ``i``."""

    def reports(self) -> Mapping[str, Report]:
        """See ``Job``."""
        return {"train": self.train.report, "valid": self.valid.report}

    def vocabulary(self) -> str:
        """See ``Job``; also describes the weights that were copied from the model that training starts from."""
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
        """The table ``train`` of the recipe, with values that depend on the text filled in."""
        settings: TrainConfig = self.recipe.train
        return settings

    def batches(self, epoch: int, start: int) -> Iterator[B]:
        """Yields an epoch's batches from number ``start`` on, with the rows of this process, on the job's device."""
        pinned, workers = self.device.type == "cuda", self.recipe.data.workers
        loaded: Iterator[Any] = load(
            self.dataset(epoch), start=start, workers=workers, pin_memory=pinned, share=ranks().share
        )
        return (batch.to(self.device) for batch in loaded)

    def warnings(self) -> list[str]:
        """See ``Job``."""
        own = self.recipe.own
        return [*super().warnings(), *(own.warnings() if own else [])]

    def decided(self) -> list[str]:
        """See ``Job``."""
        return self.precision.lines() if self.precision else []

    def with_precision(self) -> "GradientJob[M, B]":
        """Returns the job with the precision that ``auto`` is on this machine; itself if the recipe names one.

        It is measured on gradients of the first batch, which change nothing. A model that is trained in a part of the
        memory that they take, by activation checkpoints or in shards, is decided on by plain products instead. Of
        several processes the first one decides, alone: the others take its recipe.
        """
        train: TrainConfig = self.recipe.train
        if train.precision != "auto":
            return self
        work, before = float(self.parameters) * train.batch_tokens, resident() or 0
        if train.checkpoint_activations or train.parallel == "fsdp":
            made = decide(self.device, work, partial(multiply, size=1024, device=self.device), "product")
        else:
            made = self._measured(work)
        recipe = replace(self.recipe, train=replace(train, precision=made.name))
        return replace(self, recipe=recipe, precision=made, kept=max((resident() or 0) - before, 0))

    def _measured(self, work: float) -> Decision:
        task, state, batches = self.work(), self.state, list[B]()

        def gradient(numbers: Precision) -> None:
            batches.extend(islice(task.batches(0, 0), 0 if batches else 1))
            task.ready(state.model.train(), self.settings.max_steps or UNBOUNDED)  # by the last step all parts learn
            for batch in batches:
                with numbers.autocast():
                    total, count = task.loss_of(batch)
                (total / max(count, 1)).backward()
            state.optimizers.zero_grad()

        statistics = [(buffer, buffer.clone()) for norm in norms_of(state.model) for buffer in norm.buffers()]
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            made = decide(self.device, work, gradient)
        for buffer, before in statistics:  # those of a batch norm
            buffer.copy_(before)
        return made

    def arrange(self) -> None:
        """Broadcasts the untrained model to all processes, and applies the parallelism and precision of the recipe."""
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
        if (lora := getattr(recipe, "lora", None)) is not None and not lora.targets:
            raise UsageError(
                f"lora.targets = []: adapts no layer, and all {count} parameters of the model are frozen; name layers"
            )
        raise UsageError(f"model: all its {count} parameters are frozen, there is nothing to train")
    optimizers = build_optimizers(model, recipe.optim, recipe.train.lr, rate_of)
    ema = build_ema(model, recipe.optim.ema_decay) if recipe.optim.ema_decay else None
    return TrainState(model, optimizers, ema)
