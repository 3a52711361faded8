"""What a moving average of the weights is, how long it remembers, and what it is good for.

First a number that jumps from 0 to 1 is averaged, which shows the half-life, and the lower decay of the first steps.
Then a model learns from small noisy batches at a high rate, and its loss is compared with that of its average (Polyak
and Juditsky, 1992, average all steps alike; an exponential average forgets the old ones).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from clearhead.drawing.report import Curves, Part, Table
from clearhead.inspect.slots import optimizer
from clearhead.lessons.lesson import Claims, Say
from clearhead.optim.build import OptimConfig, build_ema, build_optimizers
from clearhead.progress import Progress, silent

LIMITS = {"decay": (0.5, 0.999), "steps": (20, 3000), "lr": (0.001, 0.1)}
FEATURES, ROWS, NOISE = 32, 16, 1.0
LATE = 10_000  # updates after which the lower decay of the first ones is over


@dataclass(frozen=True)
class Ema:
    """What was measured."""

    decay: float
    half_life: float
    """Steps until half is forgotten, from the view ``optimizer``."""
    apart: float
    """Difference of an average from the sum of all values, each counting ``decay`` times as much as the next."""
    jump: list[float]
    """The average, after each step, of a number that was 0 for long and is 1 from now on."""
    early: list[float]
    """The same if the jump is in the second step of a run."""
    raw: list[float]
    """Loss of a model on all data, after each step."""
    averaged: list[float]
    """That of the average of its weights."""


def run(*, decay: float = 0.98, steps: int = 400, lr: float = 0.02, seed: int = 0, progress: Progress = silent) -> Ema:
    """Averages single numbers, and the weights of a linear model that learns from small batches."""
    torch.manual_seed(seed)
    half_life = optimizer([], nn.Linear(1, 1), ema_decay=decay).ema_half_life or math.inf
    values = torch.randn(100).double()
    shares = (1 - decay) * decay ** torch.arange(99, -1, -1).double()
    apart = abs(followed(values.tolist(), decay, LATE)[-1] - float(shares @ values))
    jump, early = followed([1.0] * steps, decay, LATE), followed([0.0] + [1.0] * steps, decay, 0)[1:]
    raw, averaged = learned(decay, steps, lr, progress)
    return Ema(decay, half_life, apart, jump, early, raw, averaged)


@torch.no_grad()
def followed(values: list[float], decay: float, updates: int) -> list[float]:
    """Returns clearhead's average of a weight that has these values in turn, after ``updates`` earlier ones."""
    model: Any = nn.Linear(1, 1, bias=False).double()
    model.weight.zero_()
    ema: Any = build_ema(model, decay)
    averages = []
    ema.n_averaged.fill_(updates)
    for value in values:
        model.weight.fill_(value)
        ema.update_parameters(model)
        averages.append(ema.module.weight.item())
    return averages


def learned(decay: float, steps: int, lr: float, progress: Progress) -> tuple[list[float], list[float]]:
    """Trains on batches whose targets are noisy; returns the loss without noise, of the weights and their average."""
    model: Any = nn.Linear(FEATURES, 1, bias=False)
    x, truth = torch.randn(512, FEATURES), torch.randn(FEATURES, 1)
    ema = build_ema(model, decay)
    optimizers = build_optimizers(model, OptimConfig("sgd", momentum=0.0), lr)
    raw, averaged = [], []
    for number in range(steps):
        batch = torch.randn(ROWS, FEATURES)
        loss = (model(batch) - batch @ truth - NOISE * torch.randn(ROWS, 1)).square().mean()
        optimizers.zero_grad()
        loss.backward()
        optimizers.step()
        ema.update_parameters(model)
        with torch.no_grad():
            raw.append((model(x) - x @ truth).square().mean().item())
            averaged.append((ema(x) - x @ truth).square().mean().item())
        progress(number + 1, steps)
    return raw, averaged


def check(measured: Ema) -> Claims:
    """Returns whether each sentence of the answer holds."""
    raw, averaged = late(measured)
    quick = [number for number, loss in enumerate(measured.raw) if loss > 0.3 * measured.raw[0]]
    return {
        "sum": measured.apart < 1e-9,
        "half_life": abs(to_half(measured) - measured.half_life) <= 1,
        "early": measured.early[9] > 0.95 > 2 * measured.jump[9],
        "noise": averaged < 0.75 * raw,
        "lag": all(measured.averaged[number] > measured.raw[number] for number in quick[2:]) and len(quick) > 4,
    }


def late(measured: Ema) -> tuple[float, float]:
    """Returns the mean loss over the last quarter of the steps, of the weights and of their average."""
    count = max(len(measured.raw) // 4, 1)
    return sum(measured.raw[-count:]) / count, sum(measured.averaged[-count:]) / count


def to_half(measured: Ema) -> int:
    """Returns the number of steps after which the average of the jump is at half or above."""
    return next((number for number, value in enumerate(measured.jump, 1) if value >= 0.5), 0)


def facts(measured: Ema) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    raw, averaged = late(measured)
    return {
        "guess": str(to_half(measured)),
        "decay": f"{measured.decay:g}",
        "half": f"{measured.half_life:.1f}",
        "early": f"{measured.early[9]:.0%}",
        "plain": f"{measured.jump[9]:.0%}",
        "raw": f"{raw:.3f}",
        "averaged": f"{averaged:.3f}",
    }


def show(measured: Ema, say: Say) -> list[Part]:
    """Returns half-lives by decay, the jump, and the losses."""
    rows = []
    for decay in sorted({0.9, 0.99, 0.999, 0.9999, measured.decay}):
        half_life = optimizer([], nn.Linear(1, 1), ema_decay=decay).ema_half_life or math.inf
        rows.append((f"{decay:g}", f"{half_life:,.0f}", f"{1 / (1 - decay):,.0f}"))
    steps = [number + 1.0 for number in range(len(measured.raw))]
    jumps = {say("jump"): measured.jump, say("early"): measured.early}
    half = len(steps) // 2  # the fall before it would hide what follows
    losses = {say("raw"): measured.raw[half:], say("averaged"): measured.averaged[half:]}
    return [
        Table(say("table"), (say("decay"), f">{say('half')}", f">{say('age')}"), rows),
        Curves(say("jumps"), say("steps"), steps, jumps),
        Curves(say("losses"), say("steps"), steps[half:], losses),
    ]
