"""SGD, momentum, Adam, AdamW and Muon in five lines each, against the optimizers that clearhead builds.

Adam is by Kingma and Ba, 2015, AdamW by Loshchilov and Hutter, 2019 (arXiv:1711.05101), Muon by Jordan et al., 2024.
All learn one matrix. Then weights whose gradients are noise of different sizes show what decoupled decay changes.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Curves, Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.optim.muon import orthogonalize

LIMITS = {"steps": (1, 2000), "lr": (1e-4, 0.1), "decay": (0.0, 1.0)}
B1, B2, EPS = 0.9, 0.98, 1e-9
NOISE, KINDS = (0.01, 0.1, 1.0, 10.0), ("sgd", "adam", "adamw")  # sizes of gradients, and who sees them


def sgd(w: Tensor, g: Tensor, s: Any, t: int, lr: float, decay: float) -> Tensor:
    """A step against the gradient, with decay as a part of it."""
    return w - lr * (g + decay * w)


def momentum(w: Tensor, g: Tensor, s: Any, t: int, lr: float, decay: float) -> Tensor:
    """A step against the sum of all gradients, of which each counts B1 times less than the next."""
    s["m"] = B1 * s["m"] + g + decay * w
    return w - lr * s["m"]


def adam(w: Tensor, g: Tensor, s: Any, t: int, lr: float, decay: float) -> Tensor:
    """A step against the mean gradient over the root of the mean square, both free of their start at 0."""
    g = g + decay * w
    s["m"] = B1 * s["m"] + (1 - B1) * g
    s["v"] = B2 * s["v"] + (1 - B2) * g**2
    return w - lr * (s["m"] / (1 - B1**t)) / ((s["v"] / (1 - B2**t)).sqrt() + EPS)


def adamw(w: Tensor, g: Tensor, s: Any, t: int, lr: float, decay: float) -> Tensor:
    """Decay first, by itself; then Adam, which does not see it."""
    return adam((1 - lr * decay) * w, g, s, t, lr, 0.0)


def muon(w: Tensor, g: Tensor, s: Any, t: int, lr: float, decay: float) -> Tensor:
    """A step along the mean gradient, looked at one step ahead, with all its singular values brought near 1."""
    s["m"] = 0.95 * s["m"] + 0.05 * g
    update = orthogonalize(0.95 * s["m"] + 0.05 * g)
    return (1 - lr * decay) * w - lr * 0.2 * max(w.shape) ** 0.5 * update


RULES = {rule.__name__: rule for rule in (sgd, momentum, adam, adamw, muon)}


@dataclass(frozen=True)
class Optimizers:
    """What was measured."""

    steps: int
    alone: float
    """What decay of lr times decay in each step leaves of a weight."""
    apart: dict[str, float]
    """Distance of the weights by hand from those of clearhead's optimizer after all steps, as a share."""
    losses: dict[str, list[float]]
    gain: float
    """Size of a step with momentum, in steps without it, when the gradient has stayed the same."""
    first: dict[str, list[float]]
    """Mean size of the first step for gradients of each size of ``NOISE``, over the rate."""
    left: dict[str, list[float]]
    """Mean weight after all steps, from 1, for gradients that are noise of each size."""
    singular: list[list[float]]
    """Smallest and largest singular value of a gradient, and of Muon's update."""


def run(*, steps: int = 100, lr: float = 0.02, decay: float = 0.1, seed: int = 0) -> Optimizers:
    """Takes ``steps`` steps with each, by hand and by clearhead, on a regression and on noise."""
    torch.manual_seed(seed)
    x, start = torch.randn(64, 16).double(), torch.zeros(24, 16).double()
    targets = x @ torch.randn(16, 24).double()

    def slope(w: Tensor) -> Tensor:  # of the mean squared error
        return 2 * (x @ w.T - targets).T @ x / targets.numel()

    apart, losses = {}, {}
    for kind, rule in RULES.items():
        w, state = start, defaultdict[str, Any](float)  # all that an optimizer keeps begins at 0
        for t in range(1, steps + 1):
            w = rule(w, slope(w), state, t, lr, decay)
        way = walked(kind, start, slope, steps, lr, decay)
        apart[kind] = float((w - way[-1]).norm() / w.norm())
        losses[kind] = [float((x @ w.T - targets).square().mean()) for w in way]
    steady = walked("momentum", start, torch.ones_like, steps, lr, 0.0)
    gain, alone = float((steady[-2] - steady[-1]).mean()) / lr, (1 - lr * decay) ** steps
    sizes, ones = torch.tensor(NOISE).double()[:, None], torch.ones(len(NOISE), 512).double()
    once = {kind: walked(kind, ones, lambda w: sizes * torch.randn_like(w), 1, lr, 0.0)[-1] for kind in KINDS}
    last = {kind: walked(kind, ones, lambda w: sizes * torch.randn_like(w), steps, lr, decay)[-1] for kind in KINDS}
    first = {kind: ((ones - weights).abs().mean(1) / lr).tolist() for kind, weights in once.items()}
    left = {kind: weights.mean(1).tolist() for kind, weights in last.items()}
    update = walked("muon", start, slope, 1, lr, 0.0)[-1] / (lr * 0.2 * max(start.shape) ** 0.5)
    singular = [[its.min().item(), its.max().item()] for its in map(torch.linalg.svdvals, (slope(start), update))]
    return Optimizers(steps, alone, apart, losses, gain, first, left, singular)


def walked(kind: Any, start: Tensor, slope: Any, steps: int, lr: float, decay: float) -> list[Tensor]:
    """Returns the weights before the first step of clearhead's optimizer and after each."""
    layer: Any = nn.Linear(start.shape[1], start.shape[0], bias=False).double()
    layer.weight.data.copy_(start)
    beta = B1 if kind == "momentum" else 0.0
    config = OptimConfig("sgd" if beta else kind, betas=(B1, B2), eps=EPS, momentum=beta, weight_decay=decay)
    optimizer, way = build_optimizers(layer, config, lr), [start]
    for _ in range(steps):
        layer.weight.grad = slope(layer.weight.detach())
        optimizer.step()
        way.append(layer.weight.detach().clone())
    return way


def check(measured: Optimizers) -> Claims:
    """Returns whether each sentence of the answer holds."""
    left, first, ((small, large), (low, high)) = measured.left, measured.first, measured.singular
    return {
        "by_hand": max(measured.apart.values()) < 1e-6,
        "momentum": abs(measured.gain * (1 - B1) - 1) < 0.01,
        "sign": all(abs(size - 1) < 0.01 for size in first["adamw"]) and first["sgd"][-1] > 500 * first["sgd"][0],
        "decoupled": all(abs(weight - measured.alone) < 0.05 for weight in left["adamw"]) and measured.alone < 0.95,
        "coupled": left["adam"][-1] - left["adam"][0] > 0.5,
        "muon": 0.5 < low < high < 1.3 and high / low < 0.3 * large / small,
    }


def facts(measured: Optimizers) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    adam, adamw, (gradient, update) = measured.left["adam"], measured.left["adamw"], measured.singular
    numbers = {"guess": measured.gain, "weak": adam[0], "strong": adam[-1], "least": min(adamw), "most": max(adamw)}
    numbers |= {"low": update[0], "high": update[1], "ratio": gradient[1] / gradient[0]}
    return {"steps": str(measured.steps), **{name: f"{value:z.2f}" for name, value in numbers.items()}}


def show(measured: Optimizers, say: Say) -> list[Part]:
    """Returns how far by hand and clearhead are apart, the losses, and what noise leaves of weights."""
    rows = [(kind, f"{apart:.0e}", f"{measured.losses[kind][-1]:.3f}") for kind, apart in measured.apart.items()]
    tables = [Table(say("table"), (say("optimizer"), f">{say('apart')}", f">{say('loss')}"), rows)]
    for title, noted in (("first", measured.first), ("left", measured.left)):
        cells = [(kind, *(f"{number:z.3f}" for number in numbers)) for kind, numbers in noted.items()]
        tables.append(Table(say(title), (say("optimizer"), *(f">{size:g}" for size in NOISE)), cells))
    steps = list(map(float, range(measured.steps + 1)))
    return [tables[0], Curves(say("curve"), say("steps"), steps, measured.losses), *tables[1:]]
