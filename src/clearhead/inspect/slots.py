"""The groups of an optimizer, its state by name, and the learning rate of the steps ahead."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.arguments import checked
from clearhead.drawing.report import Bars, Curves, Note, Part, Table, View, amount
from clearhead.messages import Prose

POINTS = 120  # of the curve ahead


@dataclass(frozen=True)
class Group:
    """Parameters with the same settings."""

    optimizer: str
    lr: float
    weight_decay: float
    names: list[str]
    parameters: int


@dataclass(frozen=True)
class Slot:
    """One tensor of state."""

    parameter: str
    name: str
    shape: list[int]
    bytes: int


@dataclass(frozen=True)
class OptimizerView(View):
    """Groups and state of the optimizers of a model."""

    groups: list[Group]
    slots: list[Slot]
    weights: int
    """Bytes of the parameters that learn."""
    step: int
    ema_decay: float
    ahead: dict[str, list[float]] = field(default_factory=dict)
    """``step`` and ``lr`` from here to the end."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return "optimizer"

    @property
    def ema_half_life(self) -> float | None:
        """Steps after which the share of a step's weights in the moving average has halved."""
        return math.log(0.5) / math.log(self.ema_decay) if self.ema_decay else None

    def as_dict(self) -> dict[str, Any]:
        """See ``View``."""
        return {**super().as_dict(), "ema_half_life": self.ema_half_life}

    def parts(self) -> list[Part]:
        """See ``View``."""
        rows = [
            (
                group.optimizer,
                f"{group.lr:.3g}",
                f"{group.weight_decay:g}" if group.weight_decay else Prose("none"),
                str(len(group.names)),
                f"{group.parameters:,}",
                ", ".join(group.names[:2]) + (", ..." if len(group.names) > 2 else ""),
            )
            for group in self.groups
        ]
        columns = ("optimizer", ">rate", ">decay", ">tensors", ">numbers", "for example")
        parts: list[Part] = [Table("groups", columns, rows)]
        by_name: dict[str, int] = {}
        for slot in self.slots:
            by_name[slot.name] = by_name.get(slot.name, 0) + slot.bytes
        state = sum(by_name.values())
        if by_name:
            values = {Prose("weights"): float(self.weights), **{name: float(size) for name, size in by_name.items()}}
            parts.append(Bars("state by name", values, tuple(amount(size) for size in values.values())))
            share = state / self.weights if self.weights else 0.0
            parts.append(
                Note(f"state {amount(state)}, {share:.2f} times the weights that learn ({amount(self.weights)})")
            )
        else:
            parts.append(Note("no state yet: it is made by the first step, or by none"))
        if self.ema_half_life:
            parts.append(Note(f"moving average: decay {self.ema_decay:g}, half-life {self.ema_half_life:,.0f} steps"))
        if self.ahead:
            parts.append(Curves("learning rate ahead", "step", self.ahead["step"], {Prose("rate"): self.ahead["lr"]}))
        return parts


@checked
def optimizer(
    parts: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    model: nn.Module,
    *,
    ema_decay: float = 0.0,
    step: int = 0,
    max_steps: int = 0,
    rate: Callable[[int], float] | None = None,
) -> OptimizerView:
    """Looks at one optimizer or several over the parameters of a model.

    Args:
        parts: PyTorch's optimizers.
        model: gives the parameters their names.
        ema_decay: decay of a moving average of the weights; 0: there is none.
        step: steps taken.
        max_steps: last step.
        rate: step -> learning rate, drawn from ``step`` to ``max_steps``.
    """
    optimizers = [parts] if isinstance(parts, torch.optim.Optimizer) else list(parts)
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    groups = [
        Group(
            type(part).__name__,
            float(group["lr"]),
            float(group.get("weight_decay", 0.0)),
            [names.get(parameter, "not of this model") for parameter in group["params"]],
            sum(parameter.numel() for parameter in group["params"]),
        )
        for part in optimizers
        for group in part.param_groups
    ]
    slots = [
        Slot(names.get(parameter, "not of this model"), name, list(value.shape), value.numel() * value.element_size())
        for part in optimizers
        for parameter, state in part.state.items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    ]
    learning = [parameter for part in optimizers for group in part.param_groups for parameter in group["params"]]
    ahead: dict[str, list[float]] = {}
    if rate and max_steps > step:
        span = max_steps - step
        steps = sorted({step + max(round(span * number / POINTS), 1) for number in range(POINTS + 1)})
        ahead = {"step": [float(number) for number in steps], "lr": [rate(number) for number in steps]}
    weights = sum(parameter.numel() * parameter.element_size() for parameter in learning)
    return OptimizerView(groups, slots, weights, step, ema_decay, ahead)
