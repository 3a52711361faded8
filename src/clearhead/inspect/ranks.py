"""Distance of hidden states from rank 1, layer by layer, as trained and with parts switched off (Dong et al. 2021)."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clearhead.drawing.figure import live
from clearhead.drawing.report import HUES, Curves, Note, Part, Table, View
from clearhead.errors import ModelError
from clearhead.inspect.call import untouched
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
    """Layers that follow each other."""

    name: str
    layers: list[Layer]


@dataclass(frozen=True)
class RankCurve:
    """What one variant makes of the states of one stack."""

    stack: str
    variant: str
    distances: list[float | None]
    """What goes into the first layer, then what comes out of each: 0 is rank 1, all positions alike. None: the states
    are not finite, as may be without norms."""


@dataclass(frozen=True)
class RankCurves(Curves):
    """Curves that a page draws with a switch for each."""

    curves: Sequence[RankCurve] = ()

    def html(self) -> str:
        """See ``Part``."""
        lines = [
            {"name": one.variant, "values": one.distances, "hue": hue}
            for one, hue in zip(self.curves, HUES, strict=False)
        ]
        return live("curves", self.title, {"axis": self.axis, "lines": lines}, super().html())


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
        found: list[Part] = [
            Note(
                "|X - 1 m| / |X|, m the mean over positions, |X| = sqrt(|X|_1 |X|_inf); 0: all positions are alike. "
                "By Dong et al. 2021, attention alone comes near it doubly exponentially with depth."
            )
        ]
        for stack, pieces in self.pieces.items():
            own = [one for one in self.curves if one.stack == stack]
            depth = len(own[0].distances)
            title = f"{stack}: distance from rank 1, {pieces} positions"
            lines = {one.variant: [at for at in one.distances if at is not None] for one in own}
            lines = {name: values for name, values in lines.items() if len(values) == depth}  # the table has the rest
            found.append(RankCurves(title, "after layer", list(map(float, range(depth))), lines, own))
            rows = [(one.variant, *(_figure(value) for value in one.distances)) for one in own]
            found.append(Table(f"{stack}, after layer", ("variant", *(f">{at}" for at in range(depth))), rows))
        return found


def rank(model: nn.Module, read: Callable[[], object]) -> RankView:
    """Shows how fast the states of a model of ours come to be alike.

    Args:
        model: eager, of layers of ours.
        read: calls it once; the view is of the first row of the batch, which should have no padding.

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
                RankCurve(stack.name, variant, [distance_from_rank_1(one) for one in seen[stack.name]])
                for stack in stacks
            ]
            pieces = {stack.name: len(seen[stack.name][0]) for stack in stacks}
    for one in curves:
        if one.variant == "as trained" and one.distances[0] is None:
            raise ModelError(f"rank: the states that go into {one.stack!r} are not finite")
    return RankView(curves, pieces)


def distance_from_rank_1(states: Float[Tensor, "positions d_model"]) -> float | None:
    """|X - 1 m| / |X| with m the mean over positions and |X| = sqrt(|X|_1 |X|_inf), None where that is not finite.

    The norm is that of Dong et al. 2021 (arXiv:2103.03404, section 2), their m the nearest in it; the mean, which is
    nearest in the Frobenius norm, can only be farther away.
    """
    states = states.double()
    scale = _composite(states)
    found = float(_composite(states - states.mean(dim=0)) / scale) if scale else 0.0
    return found if math.isfinite(found) else None


def stacks_of(model: nn.Module) -> list[Stack]:
    """Returns the lists of layers in a model.

    Raises:
        ModelError: there are none.
    """
    found = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module):
            layers = [layer for layer in module if isinstance(layer, Layer)]
            if len(layers) == len(module):
                found.append(Stack(name, layers))
    if not found:
        raise ModelError(f"rank: a {type(model).__name__} has no layers of attention")
    return found


@contextmanager
def without(model: nn.Module, off: Sequence[Off]) -> Iterator[None]:
    """Switches parts of all layers off within a block: ``skip``, ``mlp``, ``norm``."""

    def branch(module: nn.Module, args: tuple[Tensor, Tensor], output: Tensor) -> Tensor:
        return args[1]

    def before(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Any:
        return args[0]

    with ExitStack() as hooks:
        for layer in (module for module in model.modules() if isinstance(module, Layer)):
            residuals = [layer.attn_residual, *([layer.cross_attn_residual] if layer.crossed else [])]
            if layer.mlp is not None and "mlp" in off:
                hooks.callback(layer.mlp_residual.register_forward_hook(before).remove)
            elif layer.mlp is not None:
                residuals.append(layer.mlp_residual)
            for residual in residuals if "skip" in off else ():
                hooks.callback(residual.register_forward_hook(branch).remove)
        for norm in (module for module in model.modules() if isinstance(module, Norm)) if "norm" in off else ():
            hooks.callback(norm.register_forward_hook(before).remove)
        yield


@contextmanager
def _states(stacks: Sequence[Stack]) -> Iterator[dict[str, list[Tensor]]]:
    """Collects the first row of what goes into each stack and comes out of its layers."""
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
    return "overflow" if value is None else f"{value:.3g}"
