"""Gradients over a few training steps: norms by layer, sizes of updates, units without a gradient."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from clearhead.arguments import checked
from clearhead.drawing.report import Curves, Note, Part, Table, View
from clearhead.inspect.call import Batch, Loss, mean_output, no_progress, untouched
from clearhead.messages import Prose

VANISHING, EXPLODING = 1e-4, 1e4
"""A layer is marked if the root mean square of its gradient, over the median of all layers, is beyond these."""


@runtime_checkable
class Stepper(Protocol):
    """An optimizer."""

    def step(self) -> Any:
        """Updates the weights by their gradients."""


@dataclass(frozen=True)
class LayerGradient:
    """Gradients of a module's own parameters, step by step."""

    name: str
    parameters: int
    weight_norm: float
    """Before the first step."""
    norms: list[float]
    """Of the gradient, at each step."""
    updates: list[float]
    """Norm of each step's update over the norm of the weights; 1e-3 is usual."""
    dead_units: int
    """Outputs of a linear layer whose weights had a gradient of exactly 0 in every step."""
    units: int
    mark: str
    """``vanishing``, ``exploding``, ``not finite``, ``none`` (no gradient) or nothing."""


@dataclass(frozen=True)
class GradientsView(View):
    """Gradients, updates and losses of a few training steps."""

    layers: list[LayerGradient]
    losses: list[float]
    """Before each step."""
    norms: list[float]
    """Of all gradients together, before clipping."""
    note: str = ""
    """What else a reader should know."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"gradients over {len(self.losses)} steps"

    def parts(self) -> list[Part]:
        """See ``View``."""
        rows = [
            (
                layer.name,
                f"{layer.weight_norm:.3g}",
                f"{layer.norms[0]:.1e}" if layer.norms else "",
                f"{layer.norms[-1]:.1e}" if layer.norms else "",
                f"{layer.updates[-1]:.1e}" if layer.updates else "",
                f"{layer.dead_units}/{layer.units}" if layer.dead_units else "",
                Prose(layer.mark),
            )
            for layer in self.layers
        ]
        marked = frozenset(number for number, layer in enumerate(self.layers) if layer.mark)
        moved = any(update for layer in self.layers for update in layer.updates)
        columns = ("layer", ">weights", ">first", ">last", ">update", ">dead", "")
        # a column of zeros, or an empty one, says no more than the line below it
        kept = [at for at, _ in enumerate(columns) if (at < 4 or any(row[at] for row in rows)) and (at != 4 or moved)]
        shown = [tuple(row[at] for at in kept) for row in rows]
        parts: list[Part] = [Table(self.title, tuple(columns[at] for at in kept), shown, marked)]
        norms = "norms of weights and of gradients at the first and last step; update is over weight"
        parts.append(Note(norms if moved else "norms of weights and of gradients at the first and last step"))
        losses = ", ".join(f"{loss:.4g}" for loss in self.losses)
        parts.append(Note(f"loss {losses}; norm of all gradients {', '.join(f'{norm:.3g}' for norm in self.norms)}"))
        if self.note:
            parts.append(Note(self.note))
        if self.layers and not moved:
            parts.append(Note("no weight moved: the rate is 0", marked=True))
        by_layer = [
            math.log10(layer.norms[-1]) for layer in self.layers if layer.norms and 0 < layer.norms[-1] < math.inf
        ]
        if len(by_layer) > 1:
            depth = [float(number) for number in range(len(by_layer))]
            parts.append(Curves("log10 of the gradient's norm", "layer", depth, {Prose("last step"): by_layer}))
        return parts


@checked
def gradients(
    model: nn.Module,
    batches: Sequence[Batch] | Batch,
    *,
    loss: Loss = mean_output,
    optimizer: Callable[[nn.Module], Stepper] | None = None,
    steps: int = 3,
    clip: float = 0.0,
    note: str = "",
    progress: Callable[[int, int], object] = no_progress,
) -> GradientsView:
    """Trains for a few steps, watches the gradients, and restores every weight.

    It needs the memory of training and two more copies of the weights.

    Args:
        model: any module.
        batches: a list of batches that are taken in turn, or one batch.
        loss: gives the scalar that is differentiated.
        optimizer: makes an optimizer for the model; None: AdamW at 1e-3.
        steps: how many.
        clip: largest norm of all gradients together; 0 does not clip.
        note: a line for the view, such as the learning rate.
        progress: called with (steps done, steps in all).

    Raises:
        ModelError: the model is compiled, or has no output to differentiate.
    """
    turns = batches if isinstance(batches, list) else [batches]
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    trail = _Trail(parameters)
    with ExitStack() as stack:
        stack.enter_context(untouched(model, training=True))
        stack.callback(trail.put_back)
        stepper = torch.optim.AdamW(parameters.values(), lr=1e-3) if optimizer is None else optimizer(model)
        for step in range(steps):
            for parameter in parameters.values():
                parameter.grad = None
            value = loss(model, turns[step % len(turns)])
            value.backward()
            trail.note(float(value.detach()))
            if clip:
                nn.utils.clip_grad_norm_(parameters.values(), clip)
            stepper.step()
            trail.moved()
            progress(step + 1, steps)
    return GradientsView(_layers(model, trail), trail.losses, trail.totals, note)


class _Trail:
    """Squares of norms of every parameter, step by step, and the weights as they were."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        self.parameters = parameters
        self.losses: list[float] = []
        self.totals: list[float] = []
        self.weights = {name: _square(parameter) for name, parameter in parameters.items()}
        self.grads: dict[str, list[float]] = {name: [] for name in parameters}
        self.updates: dict[str, list[float]] = {name: [] for name in parameters}
        self.dead: dict[str, Tensor] = {}
        self._first = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        self._last = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def note(self, loss: float) -> None:
        self.losses.append(loss)
        for name, parameter in self.parameters.items():
            self.grads[name].append(0.0 if parameter.grad is None else _square(parameter.grad))
            if parameter.grad is not None and parameter.ndim == 2:
                still = parameter.grad.eq(0).all(dim=1)
                self.dead[name] = self.dead[name] & still if name in self.dead else still
        self.totals.append(math.sqrt(sum(squares[-1] for squares in self.grads.values())))

    @torch.no_grad()
    def moved(self) -> None:
        for name, parameter in self.parameters.items():
            self.updates[name].append(_square(parameter - self._last[name]))
            self._last[name].copy_(parameter)

    @torch.no_grad()
    def put_back(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(self._first[name])


def _square(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.detach(), dtype=torch.float32)) ** 2


def _layers(model: nn.Module, trail: _Trail) -> list[LayerGradient]:
    owners: dict[str, list[str]] = {}
    for name in trail.parameters:
        owners.setdefault(name.rpartition(".")[0], []).append(name)
    mean_squares = {
        owner: [
            math.sqrt(
                sum(trail.grads[name][step] for name in names) / sum(trail.parameters[name].numel() for name in names)
            )
            for step in range(len(trail.losses))
        ]
        for owner, names in owners.items()
    }
    known = sorted(values[-1] for values in mean_squares.values() if values and 0 < values[-1] < math.inf)
    median = known[len(known) // 2] if known else 0.0
    modules = dict(model.named_modules())
    layers = []
    for owner, names in owners.items():
        weight = sum(trail.weights[name] for name in names)
        linear = [name for name in names if isinstance(modules[owner], nn.Linear) and name in trail.dead]
        layers.append(
            LayerGradient(
                name=owner or type(model).__name__,
                parameters=sum(trail.parameters[name].numel() for name in names),
                weight_norm=math.sqrt(weight),
                norms=[math.sqrt(sum(squares)) for squares in zip(*(trail.grads[name] for name in names), strict=True)],
                updates=[
                    math.sqrt(sum(squares) / weight) if weight else 0.0
                    for squares in zip(*(trail.updates[name] for name in names), strict=True)
                ],
                dead_units=sum(int(trail.dead[name].sum()) for name in linear),
                units=sum(len(trail.dead[name]) for name in linear),
                mark=_mark(mean_squares[owner], median),
            )
        )
    return layers


def _mark(values: list[float], median: float) -> str:
    if not all(map(math.isfinite, values)):
        return "not finite"
    if not any(values):
        return "none"
    if median and values[-1] < VANISHING * median:
        return "vanishing"
    return "exploding" if median and values[-1] > EXPLODING * median else ""
