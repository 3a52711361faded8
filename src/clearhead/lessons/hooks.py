"""Hooks: functions of yours that PyTorch calls on the way, in which order, and what each may change.

A linear layer gets a hook of every kind. First all of them only note that they were called, then each one by itself
doubles what it is given. The attention of clearhead looks at its own hooks: one on ``tap`` makes it show its weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Part, Table
from clearhead.inspect.step.order import OF_SAVING, OF_STEP, hooks
from clearhead.lessons.lesson import Claims, Say
from clearhead.nn.attention import SelfAttention

LIMITS = {"size": (1, 64), "heads": (1, 8)}
Hook = Callable[..., Any]
DOUBLING: dict[str, Hook] = {
    "forward_pre_hook": lambda module, inputs: (2 * inputs[0],),
    "forward_hook": lambda module, inputs, output: 2 * output,
    "full_backward_pre_hook": lambda module, of_outputs: (2 * of_outputs[0],),
    "weight: hook": lambda gradient: 2 * gradient,
    "weight: post_accumulate_grad_hook": lambda weight: setattr(weight, "grad", 2 * weight.grad),  # returns nothing
    "full_backward_hook": lambda module, of_inputs, of_outputs: (2 * of_inputs[0],),
}
STEP = [f"optimizer: {kind}" for kind in OF_STEP]
ORDER = ["forward_pre_hook", "forward_hook of all modules", *list(DOUBLING)[1:], *STEP, *OF_SAVING]


@dataclass(frozen=True)
class Hooks:
    """What was measured."""

    order: list[str]
    factors: dict[str, list[float]]
    """By how much output, gradient of the input, of the weight, and that after two passes are larger than without."""
    removed: list[float]
    tapped: float
    """Largest difference of a row of tapped attention weights from a sum of 1; infinite if none was seen."""
    moved: float
    compiled: dict[str, float]
    """Factor of the output of a compiled layer with a hook that doubles it."""


def run(*, size: int = 3, heads: int = 2, seed: int = 0) -> Hooks:
    """Hooks a linear layer from ``size`` to ``size`` numbers, attention, and a compiled layer."""
    torch.manual_seed(seed)
    layer, x = nn.Linear(size, size, bias=False), torch.randn(2, size)
    plain, factors = passes(layer, x), {}
    for kind, double in DOUBLING.items():
        handle = register(kind, double, {"": layer, "weight": layer.weight})
        factors[kind] = ratios(passes(layer, x), plain)
        handle.remove()
    order = order_of(nn.Linear(size, size, bias=False), x)
    attend, states, seen = SelfAttention(4 * heads, n_heads=heads), torch.randn(2, 5, 4 * heads), list[Tensor]()
    before = attend(states)
    attend.core.tap.register_forward_hook(lambda module, inputs, output: seen.append(output))
    moved = float((attend(states) - before).detach().abs().max())
    tapped = max((float((weights.sum(-1) - 1).detach().abs().max()) for weights in seen), default=float("inf"))
    return Hooks(order, factors, ratios(passes(layer, x), plain), tapped, moved, compiled(layer, x))


def register(kind: str, hook: Hook, owners: dict[str, Any]) -> Any:
    """Registers a hook: ``weight: hook`` by ``weight.register_hook``; returns the handle that removes it."""
    owner, _, name = kind.rpartition(": ")
    return getattr(owners[owner], f"register_{name}")(hook)


def passes(layer: nn.Linear, x: Tensor) -> list[Tensor]:
    """Returns the output, and the gradients of input and weight; the weight's also after a second pass on top."""
    layer.zero_grad()
    leaf, gradients = x.clone().requires_grad_(), list[Tensor]()
    for _ in range(2):
        output = layer(leaf)
        output.sum().backward()
        gradients += [tensor.grad.clone() for tensor in (leaf, layer.weight) if tensor.grad is not None]
    return [output.detach(), *gradients[:2], gradients[3]]


def ratios(tensors: list[Tensor], others: list[Tensor]) -> list[float]:
    """Returns how many times as large each tensor is."""
    return [float(tensor.norm() / other.norm()) for tensor, other in zip(tensors, others, strict=True)]


def order_of(layer: nn.Linear, x: Tensor) -> list[str]:
    """Returns in which order kinds are called in a step, in saving and in loading, as the view ``hooks`` sees it."""
    view = hooks(layer, x.clone().requires_grad_(), loss=lambda layer, x: layer(x).sum(), module="")
    return [fired.kind for fired in view.fired if fired.kind in ORDER]


def compiled(layer: nn.Linear, x: Tensor) -> dict[str, float]:
    """Returns what a doubling hook does to the output of a compiled layer that is hooked before or after it ran."""
    plain, factors = layer(x), dict[str, float]()
    for when in ("before", "after"):
        torch.compiler.reset()
        own = nn.Linear(x.shape[-1], x.shape[-1], bias=False)
        own.load_state_dict(layer.state_dict())
        fast: Any = torch.compile(nn.Sequential(own), backend="eager")  # the compiler's graph, run by PyTorch
        if when == "after":
            fast(x)
        own.register_forward_hook(DOUBLING["forward_hook"])
        factors[when] = ratios([fast(x).detach()], [plain.detach()])[0]
    return factors


def check(measured: Hooks) -> Claims:
    """Returns whether each sentence of the answer holds."""
    factors = {kind: [round(factor, 4) for factor in by] for kind, by in measured.factors.items()}
    return {
        "order": measured.order == ORDER,
        "forward": factors["forward_pre_hook"] == factors["forward_hook"] == [2, 2, 2, 2],
        "backward": factors["full_backward_pre_hook"] == [1, 2, 2, 2] and factors["full_backward_hook"] == [1, 2, 1, 1],
        "weight": [factors[kind] for kind in DOUBLING if kind.startswith("weight")] == [[1, 1, 2, 2], [1, 1, 2, 3]],
        "removed": all(abs(factor - 1) < 1e-4 for factor in measured.removed),
        "tap": measured.tapped < 1e-5 and measured.moved < 1e-5,
        "compiled": abs(measured.compiled["before"] - 2) < 1e-4 and abs(measured.compiled["after"] - 1) < 1e-4,
    }


def facts(measured: Hooks) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    twice = 2 * measured.factors["weight: post_accumulate_grad_hook"][3]
    return {"guess": f"{twice:.0f}", "kinds": str(len(measured.order)), "twice": f"{twice:.0f}"}


def show(measured: Hooks, say: Say) -> list[Part]:
    """Returns a table of the kinds, in the order in which they were called."""
    columns = (say("kind"), *(f">{say(name)}" for name in ("output", "of_input", "of_weight", "twice")))
    factors = {kind: tuple(f"x{factor:.3g}" for factor in by) for kind, by in measured.factors.items()}
    rows = [(kind, *factors.get(kind, ("", "", "", ""))) for kind in measured.order]
    compiled = [(say(when), f"x{factor:.3g}") for when, factor in measured.compiled.items()]
    return [Table(say("table"), columns, rows), Table(say("compiled"), (say("hooked"), columns[1]), compiled)]
