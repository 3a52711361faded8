"""What a run will take, measured on its own largest batches: the numbers of a dry run."""

import resource
import sys
import time
from dataclasses import dataclass

import numpy as np

from clearhead.data.batching import plan_batches
from clearhead.data.translation import loader
from clearhead.tasks.translation import Prepared, TranslationRecipe, work_of
from clearhead.train.loop import scheduled
from clearhead.train.step import train_step


@dataclass(frozen=True)
class Forecast:
    """Sizes and speed of a training run."""

    batches_per_epoch: int
    padding_efficiency: float
    """Real tokens over padded ones."""
    parameters: int
    src_shape: list[int]
    """Source ids of the batch with the most rows or positions tried, [batch, seq]."""
    tgt_shape: list[int]
    seconds_per_step: float
    tokens_per_second: float
    """Target pieces."""
    peak_memory_mb: float
    """Resident memory of this process after the steps."""
    minutes: float
    """For all of ``train.max_steps``, evaluation not counted."""

    def lines(self) -> list[str]:
        """The same as text."""
        return [
            f"batches: {self.batches_per_epoch:,} an epoch, {self.padding_efficiency:.1%} of positions are real pieces",
            f"a batch: source {self.src_shape}, target {self.tgt_shape}",
            f"a step: {self.seconds_per_step:.3f} s, {self.tokens_per_second:,.0f} target pieces/s, "
            f"process at {self.peak_memory_mb:,.0f} MB",
            f"the run: about {self.minutes:,.0f} minutes without evaluation",
        ]


def try_steps(prepared: Prepared, steps: int = 3) -> Forecast:
    """Takes ``steps`` training steps, the first on the batch of longest sentences, and measures the others."""
    settings = prepared.recipe.train
    lengths = prepared.train.lengths
    plan = plan_batches(*lengths, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=0)
    longest = max(range(len(plan)), key=lambda index: int(np.maximum(*lengths)[plan[index]].max()))
    work = work_of(prepared, lambda model: {})
    first = next(loader(prepared.train, plan, start=longest)).to(prepared.device)
    batches = [first, *(batch for batch, _ in zip(work.batches(0, 0), range(steps), strict=False))]
    seconds, tokens = 0.0, 0
    prepared.state.model.train()
    for number, batch in enumerate(batches):
        started = time.perf_counter()
        train_step(prepared.state.model, [batch], work.loss_of, prepared.state.optimizers, grad_clip_norm=1.0)
        if number:
            seconds, tokens = seconds + time.perf_counter() - started, tokens + batch.target_count
    per_step = seconds / max(len(batches) - 1, 1) * settings.grad_accum_steps
    return Forecast(
        batches_per_epoch=len(plan),
        padding_efficiency=plan.efficiency,
        parameters=sum(parameter.numel() for parameter in prepared.state.model.parameters()),
        src_shape=list(first.src_ids.shape),
        tgt_shape=list(first.tgt_ids.shape),
        seconds_per_step=per_step,
        tokens_per_second=tokens / seconds if seconds else 0.0,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1024 if sys.platform != "darwin" else 2**20),
        minutes=per_step * settings.max_steps / 60,
    )


def lr_curve(recipe: TranslationRecipe, columns: int = 60) -> str:
    """Draws the learning rate over the run in one line of text, from 0 to its peak."""
    optim, settings = recipe.optim, recipe.train
    marks = "▁▂▃▄▅▆▇█"
    steps = (max(round(settings.max_steps * (column + 1) / columns), 1) for column in range(columns))
    factors = [scheduled(step, settings, optim) for step in steps]
    line = "".join(marks[min(round(factor * (len(marks) - 1)), len(marks) - 1)] for factor in factors)
    return f"{line} peak {settings.lr:g}"
