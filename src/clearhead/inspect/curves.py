"""Curves of activations with their derivatives, of dead units in a model, and of learning-rate schedules."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor, nn

from clearhead.arguments import checked
from clearhead.drawing.report import Curves, Note, Part, Table, View
from clearhead.inspect.call import Batch, call, untouched
from clearhead.messages import Prose
from clearhead.meter.scope import Scope
from clearhead.nn.activation import Elementwise, GeluTanh, build_activation
from clearhead.optim.schedule import ScheduleName, lr_factor

KINDS = (
    nn.ReLU,
    nn.GELU,
    GeluTanh,
    nn.SiLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.LeakyReLU,
    nn.ELU,
    nn.Hardswish,
    nn.Mish,
    nn.ReLU6,
)
DEAD = 1e-3  # derivatives below this teach a unit next to nothing
POINTS = 121


@dataclass(frozen=True)
class Units:
    """The units of one activation in a model, on a batch."""

    module: str
    kind: str
    units: int
    dead: int
    """Units whose derivative was below 1e-3 in absolute value at every position."""
    zero: float
    """Share of outputs that are exactly 0."""
    mean_slope: float
    """Mean of the derivative over all units and positions."""


@dataclass(frozen=True)
class ActivationsView(View):
    """Curves of all activations, and how a model's units use them."""

    x: list[float]
    values: dict[str, list[float]]
    slopes: dict[str, list[float]]
    used: list[Units] = field(default_factory=list)
    """The activations of a model on a batch; empty without one."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return "activations"

    def parts(self) -> list[Part]:
        """See ``View``."""
        parts: list[Part] = []
        if self.used:
            rows = [
                (
                    units.module,
                    units.kind,
                    f"{units.dead}/{units.units}",
                    f"{units.zero:.1%}",
                    f"{units.mean_slope:.3f}",
                )
                for units in self.used
            ]
            marked = frozenset(number for number, units in enumerate(self.used) if units.dead)
            columns = ("module", "activation", ">dead units", ">outputs at 0", ">mean slope")
            parts.append(Table("in the model, on this batch", columns, rows, marked))
        for name, values in self.values.items():
            parts.append(Curves(name, "x", self.x, {Prose("value"): values, Prose("slope"): self.slopes[name]}))
        parts.append(Note("glu, reglu, geglu and swiglu multiply sigmoid, relu, gelu and silu by a second projection"))
        return parts


@checked
def activations(model: nn.Module | None = None, batch: Batch = None) -> ActivationsView:
    """Draws every element-wise activation and its derivative; counts the dead units of a model on a batch.

    Args:
        model: any module; its activations are found by their class.
        batch: see ``call``.

    Raises:
        ModelError: the model is compiled.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = torch.linspace(-6, 6, POINTS)
        values, slopes = {}, {}
        for name in get_args(Elementwise):
            if name != "softmax":  # which couples its elements
                y, slope = _slope(build_activation(name), x)
                values[name], slopes[name] = y.tolist(), slope.tolist()
    used = [] if model is None or batch is None else _used(model, batch)
    return ActivationsView(x.tolist(), values, slopes, used)


def _slope(activation: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the activation of ``x``, and its derivative there; ``x`` is copied."""
    with torch.enable_grad():
        at = x.detach().clone().requires_grad_()
        y = activation(at)
        (slope,) = torch.autograd.grad(y.sum(), at)
    return y.detach(), slope


def _used(model: nn.Module, batch: Batch) -> list[Units]:
    modules = {name: module for name, module in model.named_modules() if isinstance(module, KINDS)}
    units_of: dict[str, Units] = {}
    busy = False

    def enter(name: str, args: Any) -> None:
        nonlocal busy
        if name not in modules or busy or not isinstance(args[0], Tensor):
            return
        busy = True  # the derivative calls the module again
        try:
            with torch.inference_mode(False):
                y, slope = _slope(modules[name], args[0].clone())
        finally:
            busy = False
        flat = slope.flatten(0, -2) if slope.ndim > 1 else slope[None]
        units_of[name] = Units(
            name,
            type(modules[name]).__name__,
            flat.shape[1],
            int(flat.abs().lt(DEAD).all(dim=0).sum()),
            float(y.eq(0).float().mean()),
            float(slope.float().mean()),
        )

    with ExitStack() as stack:
        stack.enter_context(untouched(model, training=False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(Scope(model, on_enter=enter))
        call(model, batch)
    return list(units_of.values())


@dataclass(frozen=True)
class ScheduleView(View):
    """Curves of all learning-rate schedules for the same settings."""

    own: str
    """The schedule of the run; empty without a run."""
    step: list[float]
    rates: dict[str, list[float]]

    @property
    def title(self) -> str:
        """See ``View``."""
        return "learning-rate schedules"

    def parts(self) -> list[Part]:
        """See ``View``."""
        parts: list[Part] = []
        if self.own:
            parts.append(Curves(f"this run: {self.own}", "step", self.step, {Prose("rate"): self.rates[self.own]}))
        return [*parts, Curves("all, from the same settings", "step", self.step, self.rates)]


@checked
def schedule(own: str = "", *, lr: float = 1.0, warmup_steps: int, max_steps: int, **settings: Any) -> ScheduleView:
    """Draws every schedule for the same settings.

    Args:
        own: the schedule to show first.
        lr: peak rate.
        warmup_steps: steps of the rise.
        max_steps: last step.
        **settings: further arguments of ``lr_factor``.
    """
    steps = sorted({max(round(max_steps * number / (POINTS - 1)), 1) for number in range(POINTS)})
    sizes = {"warmup_steps": warmup_steps, "max_steps": max_steps, **settings}
    rates = {name: [lr * lr_factor(name, step, **sizes) for step in steps] for name in get_args(ScheduleName)}
    return ScheduleView(own, [float(step) for step in steps], rates)
