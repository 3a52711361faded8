"""Whether a learning rate that oscillates leads out of bad minima, or one that is high for long enough.

Many balls start in the shallow minimum of a double well in one dimension, and roll with noise like that of small
batches. Each schedule of clearhead, with one peak rate, takes them through as many steps: where do they end, and how
deep? Cosine with restarts is by Loshchilov and Hutter, 2017 (arXiv:1608.03983). Last comes the run's own curve.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from clearhead.drawing.report import Curves, Part, Table
from clearhead.inspect.curves import ScheduleView
from clearhead.lessons.lesson import Claims, Say
from clearhead.optim.schedule import ScheduleName, lr_factor
from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.views import schedule_of

LIMITS = {"balls": (10, 5000), "steps": (20, 3000), "lr": (0.001, 0.2), "noise": (0.0, 20.0)}
SHORT = {"steps": 300}
TASKS = ("translation", "language_model", "masked", "classify")
TILT, CLIP, LOW = 0.3, 20.0, 0.1  # how much one well is deeper; bound of a gradient; share of the peak that is "low"
SHOWN = 50  # points of a curve


@dataclass(frozen=True)
class Rolled:
    """What a schedule did to the balls."""

    deep: float
    """Share of them in the deep well in the end."""
    height: float
    """Their mean height in the end; the shallow minimum is at 0.29, the deep one at -0.31."""
    over_time: list[float]
    """The share in the deep well, at some steps."""


@dataclass(frozen=True)
class Schedules:
    """What was measured."""

    steps: int
    rolled: dict[str, Rolled]
    """By schedule; ``low`` is a constant tenth of the peak."""
    without_noise: dict[str, float]
    """The share in the deep well in the end, if there is no noise."""
    view: ScheduleView
    """The curves of the run."""
    warmup_steps: int
    """Of the run."""


def run(
    *, trained: Path, balls: int = 1000, steps: int = 500, lr: float = 0.1, noise: float = 3.0, seed: int = 0
) -> Schedules:
    """Rolls ``balls`` under each schedule, with the same noise, and opens the run's own."""
    torch.manual_seed(seed)
    pushes = noise * torch.randn(steps, balls)
    names = (*get_args(ScheduleName), "low")
    rolled = {name: roll(rates(name, steps, lr), pushes) for name in names}
    still = {name: roll(rates(name, steps, lr), torch.zeros(steps, 1)).deep for name in names}
    opened = Opened.open(trained, checkpoint="latest", device="cpu")
    view = schedule_of(opened)
    assert isinstance(view, ScheduleView)
    return Schedules(steps, rolled, still, view, opened.settings.warmup_steps)


def rates(name: str, steps: int, lr: float) -> list[float]:
    """Returns the rate at each step; a twentieth of them is warm-up."""
    if name == "low":
        return [LOW * lr] * steps
    kind = next(kind for kind in get_args(ScheduleName) if kind == name)
    return [lr * lr_factor(kind, step, warmup_steps=steps // 20, max_steps=steps) for step in range(1, steps + 1)]


def roll(rates: list[float], pushes: Tensor) -> Rolled:
    """Takes balls down the height (x^2 - 1)^2 - TILT x, with a push at each step, from the minimum near -1."""
    x, shares = torch.full(pushes.shape[1:], -1.0), []
    every = max(len(rates) // SHOWN, 1)
    for step, (rate, push) in enumerate(zip(rates, pushes, strict=True), 1):
        slope = 4 * x * (x.square() - 1) - TILT
        x = x - rate * (slope.clamp(-CLIP, CLIP) + push)
        if step % every == 0:
            shares.append((x > 0).float().mean().item())
    height = (x.square() - 1).square() - TILT * x
    return Rolled((x > 0).float().mean().item(), height.mean().item(), shares)


def check(measured: Schedules) -> Claims:
    """Returns whether each sentence of the answer holds."""
    rolled, own = measured.rolled, measured.view.rates[measured.view.own]
    cosine, restarts, apart = rolled["cosine"], rolled["cosine_restarts"], max(measured.view.step) / len(own)
    return {
        "noise": max(measured.without_noise.values()) == 0.0,
        "low": rolled["low"].deep < 0.05,
        "high": min(cosine.deep, rolled["linear"].deep) > max(0.6, rolled["inverse_sqrt"].deep + 0.1),
        "settle": rolled["constant"].height > cosine.height + 0.2,
        "restarts": abs(restarts.deep - cosine.deep) < 0.1 and restarts.height > cosine.height - 0.02,
        "own": abs(peak_of(measured) - measured.warmup_steps) <= 2 * apart,
    }


def peak_of(measured: Schedules) -> float:
    """Returns the step at which the rate of the run is highest for the first time."""
    own = measured.view.rates[measured.view.own]
    return measured.view.step[own.index(max(own))]


def facts(measured: Schedules) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    deep = {name: f"{its.deep:.0%}" for name, its in measured.rolled.items()}
    own = measured.view.rates[measured.view.own]
    return {
        "guess": deep["cosine_restarts"],
        **{name: deep[name] for name in ("low", "cosine", "linear", "inverse_sqrt")},
        "constant": f"{measured.rolled['constant'].height:.2f}",
        "settled": f"{measured.rolled['cosine'].height:.2f}",
        "own": measured.view.own,
        "peak": f"{peak_of(measured):.0f}",
        "last": f"{own[-1] / max(own):.0%}",
    }


def show(measured: Schedules, say: Say) -> list[Part]:
    """Returns where the balls end, how they get there, and the schedule of the run."""
    rows = [
        (say("low") if name == "low" else name, f"{its.deep:.0%}", f"{its.height:.2f}", f"{still:.0%}")
        for (name, its), still in zip(measured.rolled.items(), measured.without_noise.values(), strict=True)
    ]
    columns = (say("schedule"), *(f">{say(name)}" for name in ("deep", "height", "still")))
    shares = {name: its.over_time for name, its in measured.rolled.items() if name != "low"}
    points = len(shares["cosine"])
    steps = [(number + 1.0) * max(measured.steps // SHOWN, 1) for number in range(points)]
    own = {measured.view.own: measured.view.rates[measured.view.own]}
    return [
        Table(say("table"), columns, rows),
        Curves(say("shares"), say("steps"), steps, shares),
        Curves(say("own"), say("steps"), measured.view.step, own),
    ]
