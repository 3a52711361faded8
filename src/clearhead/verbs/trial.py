"""The dry run of ``clearhead train``: measures the speed and memory of a few steps on the largest batches."""

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clearhead.config import Tree
from clearhead.errors import UsageError
from clearhead.progress import Progress, silent
from clearhead.runs.recipes import read_recipe
from clearhead.tasks.room import TooLargeError
from clearhead.training.job import GradientJob, Job
from clearhead.training.length.budget import UNBOUNDED, Costs, Sizing, scheduled, seconds_to, sized
from clearhead.training.loop import Work, engine_of, precision_of, step_on
from clearhead.verbs.plan import Devices, Plan, forecast, plan
from clearhead.verbs.train import prepare_new


@dataclass(frozen=True)
class Trial:
    """Sizes and speed of a training run."""

    batches_per_epoch: int
    padding_efficiency: float
    """Real tokens over padded ones."""
    parameters: int
    shapes: dict[str, list[int]]
    """Shapes of the tensors in the batch that takes the most memory, on which the first step is taken."""
    seconds_per_step: float
    tokens_per_second: float
    """Targets per second; ``targets`` says what they are."""
    peak_memory_mb: float
    """Resident memory of this process after the steps."""
    minutes: float
    """Time of all steps, without evaluation; with it where the run has a budget of time."""
    targets: str
    """The unit of the targets: tokens, or lines for a classifier."""
    sizing: Sizing | None = None
    """What a run with a budget would decide about its length by this measure; None for one without."""

    def lines(self) -> list[str]:
        """The same as text."""
        return [
            f"batches: {self.batches_per_epoch:,} an epoch, {self.padding_efficiency:.1%} of positions are real pieces",
            "a batch: " + ", ".join(f"{name} {shape}" for name, shape in self.shapes.items()),
            f"a step: {self.seconds_per_step:.3f} s, {self.tokens_per_second:,.0f} {self.targets}/s, "
            f"process at {self.peak_memory_mb:,.0f} MB",
            self._length(),
        ]

    def _length(self) -> str:
        minutes = f"{self.minutes:,.0f} minutes" if self.minutes >= 100 else f"{self.minutes:.3g} minutes"
        time = f"{60 * self.minutes:.3g} seconds" if self.minutes < 1 else minutes
        if self.sizing is None:
            return f"the run: about {time} without evaluation"
        made = self.sizing
        key = "max_steps" if made.last == made.max_steps else "max_minutes"
        return (
            f"the run: about {time}, bounded by train.{key}: {made.last:,} steps, "
            f"{made.warmup_steps:,} of warm-up; an evaluation takes {made.costs.evaluation:.3g} s"
        )


@dataclass(frozen=True)
class DryRun:
    """The result of a dry run: a run that was prepared and tried, but not trained."""

    job: Job | None
    """None for a model that has no room on this machine, of which nothing was built."""
    memory: Plan | None
    """The memory forecast; None for a model that cannot be forecast."""
    trial: Trial | None
    """The measured steps; None for an n-gram model, which takes none, and where there is no job."""
    refused: str = ""
    """Why there is no job."""


def dry_run(recipe: str, data: Path, overrides: Sequence[str], *, progress: Progress = silent) -> DryRun:
    """Prepares a run and takes a step on its largest batch and three more; writes no run directory.

    Raises:
        ClearheadError: recipe, text or device cannot be used.
    """
    tree, source = read_recipe(recipe, overrides), f"recipe {recipe!r}"
    try:
        job = prepare_new(tree, data, progress=progress, source=source)
    except TooLargeError as error:  # which may be for a larger machine
        return DryRun(None, _planned(tree, source), None, str(error))
    if not isinstance(job, GradientJob):
        return DryRun(job, None, None)
    job.arrange()
    memory = forecast(job)  # before the steps, whose memory the process keeps
    return DryRun(job, memory, try_steps(job))


def _planned(tree: Tree, source: str) -> Plan | None:
    """Forecasts a recipe without building its model; None where models of its task are not forecast."""
    try:
        return plan(tree, source, Devices())
    except UsageError:
        return None


def try_steps(job: GradientJob[Any, Any], steps: int = 3, *, patience: float = 10.0) -> Trial:
    """Takes ``steps`` training steps after one on the largest batch, and measures them.

    Args:
        job: a run that has not begun.
        steps: at least one.
        patience: seconds for the steps; those that would begin later are not taken, and where there are none but the
            one on the largest batch, it is the measure.
    """
    settings, (plan, largest) = job.settings, job.first_epoch()
    work = job.work()
    first = next(work.batches(0, largest))
    batches = [first, *(batch for batch, _ in zip(work.batches(0, 0), range(steps), strict=False))]
    shapes = {field.name: getattr(first, field.name) for field in fields(first)}
    seconds, tokens, measured, begun = 0.0, 0, 0, time.perf_counter()
    precision, engine = precision_of(job.state, settings), engine_of(job.state, work)
    for number, batch in enumerate(batches):
        started = time.perf_counter()
        step = settings.max_steps or UNBOUNDED  # by the last step all parts learn
        step_on(job.state, [batch], work, step, grad_clip_norm=1.0, precision=precision, engine=engine)
        ended = time.perf_counter()
        late = ended - begun > patience
        if number or late:
            seconds, tokens, measured = seconds + ended - started, tokens + batch.target_count, measured + 1
        if late:
            break
    per_step = seconds / max(measured, 1) * settings.grad_accum_steps
    sizing = _sizing(job, work, per_step) if settings.max_minutes else None
    total = seconds_to(sizing.last, 0, settings, sizing.costs) if sizing else per_step * settings.max_steps
    return Trial(
        batches_per_epoch=len(plan),
        padding_efficiency=plan.efficiency,
        parameters=job.parameters,
        shapes={name: list(value.shape) for name, value in shapes.items() if isinstance(value, Tensor)},
        seconds_per_step=per_step,
        tokens_per_second=tokens / seconds if seconds else 0.0,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1024 if sys.platform != "darwin" else 2**20),
        minutes=(total + (sizing.costs.evaluation if sizing else 0.0)) / 60,
        targets=job.targets,
        sizing=sizing,
    )


def _sizing(job: GradientJob[Any, Any], work: Work[Any], per_step: float) -> Sizing:
    """Decides on the length of a run with a budget, which evaluates once early, as this does, to know its time."""
    started = time.perf_counter()
    with torch.inference_mode():
        model = job.state.evaluated_model.eval()
        work.evaluate(model)
        work.sample(model)
    evaluation = time.perf_counter() - started
    return sized(0, 60 * job.settings.max_minutes - evaluation, job.settings, Costs(per_step, evaluation))


def lr_curve(job: GradientJob[Any, Any], sizing: Sizing | None = None, *, columns: int = 60) -> str:
    """Draws the learning rate over the run in one line of text, from 0 to its peak."""
    optim, settings = job.recipe.optim, job.settings
    marks, last = "▁▂▃▄▅▆▇█", sizing.last if sizing else settings.max_steps
    steps = (max(round(last * (column + 1) / columns), 1) for column in range(columns))
    factors = [scheduled(step, settings, optim, sizing) for step in steps]
    line = "".join(marks[min(round(factor * (len(marks) - 1)), len(marks) - 1)] for factor in factors)
    return f"{line} peak {settings.lr:g}"
