"""When γ and β of a norm learn, and by what: each moment of one training step, looked at before and after.

A small network with a batch norm takes one step, and its values are noted before it, after forward, after backward and
after ``step()``. Then three copies train on: all of it, all but γ and β, and γ and β alone (Frankle et al., 2021,
arXiv:2003.00152, train nothing else in deep networks).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Curves, Part, Table
from clearhead.inspect.norms import NormInfo, norm
from clearhead.lessons.lesson import Claims, Say
from clearhead.loss import cross_entropy
from clearhead.nn.norm import BatchNorm
from clearhead.optim.build import OptimConfig, build_optimizers, parameter_groups

LIMITS = {"steps": (1, 1000), "lr": (0.001, 1.0)}
FEATURES, HIDDEN, CLASSES = 8, 64, 4
COLUMNS = ("γ", "γ.grad", "β", "β.grad", "W", "W.grad", "running_mean")


@dataclass(frozen=True)
class GammaBeta:
    """What was measured."""

    moments: dict[str, list[float | None]]
    """The first number of each of ``COLUMNS``: ``before``, after ``forward``, after ``backward``, after ``step()``."""
    by_hand: float
    """Largest difference of autograd's gradients of γ and β from the formulas."""
    by_rule: float
    """Largest difference of any parameter, after the step, from what it was less lr times its gradient."""
    decayed: list[str]
    """Parameters that clearhead gives weight decay."""
    losses: dict[str, list[float]]
    """Of three trainings: ``all``, ``without`` γ and β, and these ``only``."""
    trained: NormInfo
    """The norm after the first training, from the view ``norm``."""


def run(*, steps: int = 150, lr: float = 0.1, seed: int = 0) -> GammaBeta:
    """Takes one step and looks at it, then trains three copies."""
    torch.manual_seed(seed)
    x = torch.randn(32, 4, FEATURES)
    targets = (x @ torch.randn(FEATURES, CLASSES)).argmax(-1).flatten()
    model, normed = network(seed), []
    optimizer = build_optimizers(model, OptimConfig(name="sgd", momentum=0.0), lr)
    model[1].register_forward_hook(lambda module, inputs, output: normed.append(output))
    before = [parameter.detach().clone() for parameter in model.parameters()]

    moments = {"before": numbers(model)}
    loss = loss_of(model, x, targets)
    moments["forward"] = numbers(model)
    normed[0].retain_grad()
    loss.backward()
    moments["backward"] = numbers(model)
    optimizer.step()
    moments["step"] = numbers(model)

    # the norm gives y = γ x̂ + β, and γ is 1 and β is 0 here, so that y is x̂; both act at every position: sums
    y, slope = normed[0].detach().flatten(0, 1), normed[0].grad.flatten(0, 1)
    gamma, beta = (parameter.grad for parameter in model[1].parameters())
    by_hand = max(float((gamma - (slope * y).sum(0)).abs().max()), float((beta - slope.sum(0)).abs().max()))
    moved = zip(model.parameters(), before, strict=True)
    by_rule = max(float((now - (old - lr * now.grad)).detach().abs().max()) for now, old in moved)
    groups, names = parameter_groups(model, 0.1, lr=lr)
    decayed = [names[parameter] for group in groups if group["weight_decay"] for parameter in group["params"]]

    losses = {kind: learned(network(seed), kind, x, targets, steps, lr) for kind in ("without", "only")}
    model = network(seed)
    losses = {"all": learned(model, "all", x, targets, steps, lr), **losses}
    return GammaBeta(moments, by_hand, by_rule, decayed, losses, norm(model, lambda: model(x)).norms[0])


def network(seed: int) -> Any:
    """Returns a linear layer, a batch norm of clearhead, ReLU and a linear layer."""
    torch.manual_seed(seed)
    layers = (nn.Linear(FEATURES, HIDDEN), BatchNorm(HIDDEN, eps=1e-5), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    return nn.Sequential(*layers)


def loss_of(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Returns the mean cross-entropy."""
    total, count = cross_entropy(model(x).flatten(0, 1), targets)
    return total / count


def numbers(model: Any) -> list[float | None]:
    """Notes the first number of each of ``COLUMNS``; a gradient that is not there is None."""
    noted: list[float | None] = []
    for parameter in (model[1].weight, model[1].bias, model[0].weight):
        noted += [parameter.flatten()[0].item(), None if parameter.grad is None else parameter.grad.flatten()[0].item()]
    return [*noted, model[1].running_mean[0].item()]


def learned(model: nn.Module, kind: str, x: Tensor, targets: Tensor, steps: int, lr: float) -> list[float]:
    """Trains what ``kind`` says, freezes the rest, and returns the losses."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(kind == "all" or name.startswith("1.") == (kind == "only"))
    optimizer, losses = build_optimizers(model, OptimConfig(name="sgd", momentum=0.0), lr), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model, x, targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def check(measured: GammaBeta) -> Claims:
    """Returns whether each sentence of the answer holds."""
    forward, backward, step = changes(measured)
    last = {kind: losses[-1] for kind, losses in measured.losses.items()}
    return {
        "forward": forward == {"running_mean"},
        "backward": backward == {"γ.grad", "β.grad", "W.grad"} and measured.by_hand < 1e-5,
        "step": step == {"γ", "β", "W"} and measured.by_rule < 1e-6,
        "decay": measured.decayed == ["0.weight", "3.weight"],
        "together": last["all"] < last["without"] < last["only"] < 0.95 * measured.losses["only"][0],
    }


def changes(measured: GammaBeta) -> list[set[str]]:
    """Returns which of ``COLUMNS`` forward, backward and ``step()`` have each changed."""
    noted = list(measured.moments.values())
    pairs = [zip(COLUMNS, was, now, strict=True) for was, now in pairwise(noted)]
    return [{name for name, old, new in pair if old != new} for pair in pairs]


def facts(measured: GammaBeta) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    last = {kind: f"{losses[-1]:.2f}" for kind, losses in measured.losses.items()}
    return {"guess": str(len(changes(measured)[0])), "gamma": str(measured.trained.gamma), **last}


def show(measured: GammaBeta, say: Say) -> list[Part]:
    """Returns a table of one step, and the curves of the three trainings."""
    rows = [
        (say(moment), *("none" if number is None else f"{number:.4f}" for number in noted))
        for moment, noted in measured.moments.items()
    ]
    lines = {say(kind): losses for kind, losses in measured.losses.items()}
    steps = [number + 1.0 for number in range(len(measured.losses["all"]))]
    table = Table(say("table"), (say("moment"), *(f">{name}" for name in COLUMNS)), rows)
    return [table, Curves(say("curve"), say("steps"), steps, lines)]
