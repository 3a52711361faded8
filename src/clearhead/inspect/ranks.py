"""Distance of hidden states from rank 1, layer by layer, as trained and with parts switched off (Dong et al. 2021)."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clearhead.arguments import checked
from clearhead.drawing.report import Curves, Note, Part, Table, View
from clearhead.errors import ModelError
from clearhead.inspect.call import untouched
from clearhead.messages import Prose
from clearhead.nn.layer import Layer
from clearhead.nn.norm import Norm

Off = Literal["skip", "mlp", "norm"]
VARIANTS: dict[str, tuple[Off, ...]] = {
    "as trained": (),
    "no skip": ("skip",),
    "no MLP": ("mlp",),
    "no norm": ("norm",),
    "attention alone": ("skip", "mlp"),
}


@dataclass(frozen=True)
class Stack:
    """Consecutive layers of a model."""

    name: str
    layers: list[Layer]


@dataclass(frozen=True)
class RankCurve:
    """Distances from rank 1 in one stack, for one variant of the model."""

    stack: str
    variant: str
    distances: list[float | None]
    """Of the input of the first layer, then of the output of each; 0 is rank 1: all positions are alike. None if the
    states are not finite, as may happen without norms."""


@dataclass(frozen=True)
class RankCurves(Curves):
    """Curves of all variants, those that overflow too."""

    curves: Sequence[RankCurve] = ()

    def scene(self) -> dict[str, Any]:
        """See ``Curves``; a curve has a gap where its states are not finite."""
        lines = [{"name": Prose(curve.variant), "values": curve.distances} for curve in self.curves]
        return super().scene() | {"lines": lines}


@dataclass(frozen=True)
class RankView(View):
    """Distances from rank 1."""

    curves: list[RankCurve]
    pieces: dict[str, int]
    """Positions of each stack."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return "rank: how far hidden states are from being the same at every position"

    def parts(self) -> list[Part]:
        """See ``View``."""
        parts: list[Part] = [
            Note(
                "|X - 1 m| / |X|, m the mean over positions, |X| = sqrt(|X|_1 |X|_inf); 0: all positions are alike. "
                "By Dong et al. 2021, attention alone comes near it doubly exponentially with depth."
            )
        ]
        for stack, pieces in self.pieces.items():
            own = [curve for curve in self.curves if curve.stack == stack]
            depth = len(own[0].distances)
            title = f"{stack}: distance from rank 1, {pieces} positions"
            known = {curve.variant: [at for at in curve.distances if at is not None] for curve in own}
            lines: dict[str, list[float]] = {
                Prose(name): values for name, values in known.items() if len(values) == depth
            }  # the table has the rest
            parts.append(RankCurves(title, "after layer", list(map(float, range(depth))), lines, True, own))
            rows = [(Prose(curve.variant), *(_figure(value) for value in curve.distances)) for curve in own]
            parts.append(
                Table(f"{stack}, after layer", ("variant", *(f">{at}" for at in range(depth))), rows, folded=True)
            )
        return parts


@checked
def rank(model: nn.Module, read: Callable[[], object]) -> RankView:
    """Shows how fast the states of a model of ours become alike at all positions.

    Args:
        model: eager, of layers of ours.
        read: calls the model once; the view shows the first row of the batch, which should have no padding.

    Raises:
        ModelError: the model is compiled or has no layers of ours, or the states that go in are not finite.
    """
    stacks = stacks_of(model)
    curves, pieces = list[RankCurve](), dict[str, int]()
    with untouched(model, training=False), torch.no_grad():
        for variant, off in VARIANTS.items():
            with without(model, off), _states(stacks) as seen:
                read()
            curves += [
                RankCurve(stack.name, variant, [distance_from_rank_1(states) for states in seen[stack.name]])
                for stack in stacks
            ]
            pieces = {stack.name: len(seen[stack.name][0]) for stack in stacks}
    for curve in curves:
        if curve.variant == "as trained" and curve.distances[0] is None:
            raise ModelError(f"rank: the states that go into {curve.stack!r} are not finite")
    return RankView(curves, pieces)


def distance_from_rank_1(states: Float[Tensor, "positions d_model"]) -> float | None:
    """|X - 1 m| / |X| with m the mean over positions and |X| = sqrt(|X|_1 |X|_inf), None where that is not finite.

    The norm is that of Dong et al. 2021 (arXiv:2103.03404, section 2). Their m is the nearest in that norm; ours, the
    mean, is the nearest in the Frobenius norm, so that our distance is never smaller than theirs.
    """
    states = states.double()
    scale = _composite(states)
    distance = float(_composite(states - states.mean(dim=0)) / scale) if scale else 0.0
    return distance if math.isfinite(distance) else None


def stacks_of(model: nn.Module) -> list[Stack]:
    """Returns the lists of layers in a model.

    Raises:
        ModelError: the model has no layers of ours.
    """
    stacks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module):
            layers = [layer for layer in module if isinstance(layer, Layer)]
            if len(layers) == len(module):
                stacks.append(Stack(name, layers))
    if not stacks:
        raise ModelError(f"rank: a {type(model).__name__} has no layers of attention")
    return stacks


@contextmanager
def without(model: nn.Module, off: Sequence[Off]) -> Iterator[None]:
    """Switches parts of all layers off within a block: ``skip``, ``mlp``, ``norm``."""

    def branch(module: nn.Module, args: tuple[Tensor, Tensor], output: Tensor) -> Tensor:
        return args[1]

    def before(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Any:
        return args[0]

    with ExitStack() as hooks:
        for layer in (module for module in model.modules() if isinstance(module, Layer)):
            residuals = [layer.attn_residual]
            if layer.crossed:
                residuals.append(layer.cross_attn_residual)
            if layer.mlp is not None and "mlp" in off:
                hooks.callback(layer.mlp_residual.register_forward_hook(before).remove)
            elif layer.mlp is not None:
                residuals.append(layer.mlp_residual)
            skipped = residuals if "skip" in off else []
            for residual in skipped:
                hooks.callback(residual.register_forward_hook(branch).remove)
        for module in model.modules():
            if isinstance(module, Norm) and "norm" in off:
                hooks.callback(module.register_forward_hook(before).remove)
        yield


@contextmanager
def _states(stacks: Sequence[Stack]) -> Iterator[dict[str, list[Tensor]]]:
    """Collects the first row of the input of each stack and of the outputs of its layers."""
    seen: dict[str, list[Tensor]] = {stack.name: [] for stack in stacks}
    with ExitStack() as hooks:
        for stack in stacks:
            own = seen[stack.name]

            def enter(module: nn.Module, args: tuple[Any, ...], own: list[Tensor] = own) -> None:
                own.append(args[0][0].detach())

            def leave(module: nn.Module, args: Any, output: Tensor, own: list[Tensor] = own) -> None:
                own.append(output[0].detach())

            hooks.callback(stack.layers[0].register_forward_pre_hook(enter).remove)
            for layer in stack.layers:
                hooks.callback(layer.register_forward_hook(leave).remove)
        yield seen


def _composite(x: Tensor) -> Tensor:
    return (x.abs().sum(dim=0).max() * x.abs().sum(dim=1).max()).sqrt()


def _figure(value: float | None) -> str:
    return Prose("overflow") if value is None else f"{value:.3g}"
