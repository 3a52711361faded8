"""What an optimizer holds: its groups, its state by name, the rate that lies ahead."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Bars, Curves, Note, Part, Table, View, amount

POINTS = 120  # of the curve ahead


@dataclass(frozen=True)
class Group:
    """Parameters that are treated alike."""

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
    """See ``optimizer``."""

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
        """Steps after which a weight's share in the moving average has halved, once it is no longer young."""
        return math.log(0.5) / math.log(self.ema_decay) if self.ema_decay else None

    def as_dict(self) -> dict[str, Any]:
        """See ``View``."""
        return {**super().as_dict(), "ema_half_life": self.ema_half_life}

    def parts(self) -> list[Part]:
        """See ``View``."""
        rows = [
            (
                one.optimizer,
                f"{one.lr:.3g}",
                f"{one.weight_decay:g}" if one.weight_decay else "none",
                str(len(one.names)),
                f"{one.parameters:,}",
                ", ".join(one.names[:2]) + (", ..." if len(one.names) > 2 else ""),
            )
            for one in self.groups
        ]
        columns = ("optimizer", ">rate", ">decay", ">tensors", ">numbers", "for example")
        found: list[Part] = [Table("groups", columns, rows)]
        by_name: dict[str, int] = {}
        for slot in self.slots:
            by_name[slot.name] = by_name.get(slot.name, 0) + slot.bytes
        state = sum(by_name.values())
        if by_name:
            values = {"weights": float(self.weights), **{name: float(size) for name, size in by_name.items()}}
            found.append(Bars("state by name", values, tuple(amount(size) for size in values.values())))
            share = state / self.weights if self.weights else 0.0
            found.append(
                Note(f"state {amount(state)}, {share:.2f} times the weights that learn ({amount(self.weights)})")
            )
        else:
            found.append(Note("no state yet: it is made by the first step, or by none"))
        if self.ema_half_life:
            found.append(Note(f"moving average: decay {self.ema_decay:g}, half-life {self.ema_half_life:,.0f} steps"))
        if self.ahead:
            found.append(Curves("learning rate ahead", "step", self.ahead["step"], {"rate": self.ahead["lr"]}))
        return found


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
    names: dict[Tensor, str] = {one: name for name, one in model.named_parameters()}
    groups = [
        Group(
            type(one).__name__,
            float(group["lr"]),
            float(group.get("weight_decay", 0.0)),
            [names.get(parameter, "not of this model") for parameter in group["params"]],
            sum(parameter.numel() for parameter in group["params"]),
        )
        for one in optimizers
        for group in one.param_groups
    ]
    slots = [
        Slot(names.get(parameter, "not of this model"), name, list(value.shape), value.numel() * value.element_size())
        for one in optimizers
        for parameter, state in one.state.items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    ]
    learning = [parameter for one in optimizers for group in one.param_groups for parameter in group["params"]]
    ahead: dict[str, list[float]] = {}
    if rate and max_steps > step:
        span = max_steps - step
        at = sorted({step + max(round(span * number / POINTS), 1) for number in range(POINTS + 1)})
        ahead = {"step": [float(one) for one in at], "lr": [rate(one) for one in at]}
    weights = sum(parameter.numel() * parameter.element_size() for parameter in learning)
    return OptimizerView(groups, slots, weights, step, ema_decay, ahead)
