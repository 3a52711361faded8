"""Two kinds of activations: each element for itself, or all elements together; and gates, which multiply two inputs.

The Jacobian of an element-wise function is diagonal; that of softmax is diag(p) - p pᵀ. Curves and derivatives are
those of the view ``activations``, which also counts the units of a network that no longer learn. Gates are those of
Shazeer, 2020 (arXiv:2002.05202).
"""

from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from clearhead.drawing.report import Curves, Part, Table
from clearhead.inspect.attend.slopes import derivatives, softmax_slopes
from clearhead.inspect.curves import ActivationsView, Units, activations
from clearhead.lessons.lesson import Claims, Say
from clearhead.nn.activation import ActivationName, Elementwise, Gated, build_activation
from clearhead.nn.mlp import build_mlp

LIMITS = {"size": (2, 64), "shift": (0.0, 20.0)}
PIECES, D_MODEL, D_FF = 64, 16, 128


@dataclass(frozen=True)
class Coupling:
    """How the outputs of an activation depend on its inputs."""

    moved: int
    """How many outputs change when the first input changes."""
    beside: float
    """Largest entry of the Jacobian beside its diagonal, in absolute value."""


@dataclass(frozen=True)
class Activations:
    """What was measured."""

    size: int
    shift: float
    couplings: dict[str, Coupling]
    formula: float
    """Largest difference between autograd's Jacobian of softmax and diag(p) - p pᵀ."""
    rest: float
    """Largest sum of a row of that Jacobian, or change of softmax when 3 is added to all its inputs."""
    view: ActivationsView
    """The curves and derivatives."""
    units: dict[str, Units]
    """Of a network for each activation, whose biases are -shift."""
    gates: dict[str, float]
    """Largest difference between clearhead's gated networks and down(act(gate(x)) * up(x)), as a share."""
    doubled: dict[str, float]
    """How many times as large outputs of networks, gated and plain, become when the weights of ``up`` are doubled."""


def run(*, size: int = 6, shift: float = 2.0, seed: int = 0) -> Activations:
    """Takes Jacobians at ``size`` random inputs, and counts dead units of networks whose biases are -``shift``."""
    torch.manual_seed(seed)
    x, pieces = torch.randn(1, size), torch.randn(1, PIECES, D_MODEL)
    couplings = {name: coupling(name, x) for name in get_args(Elementwise)}
    softmax = build_activation("softmax")
    p, slopes = softmax(x)[0], derivatives(softmax, x)
    formula = float((slopes - softmax_slopes(p)).abs().max())
    rest = max(float(slopes.sum(1).abs().max()), float((softmax(x + 3) - softmax(x)).abs().max()))
    view = activations()
    units = {name: units_of(name, pieces, shift) for name in view.values}
    gates = {name: against_hand(name, pieces) for name in get_args(Gated)}
    doubled = {name: growth(name, pieces) for name in (*gates, "gelu")}
    return Activations(size, shift, couplings, formula, rest, view, units, gates, doubled)


def coupling(name: ActivationName, x: Tensor) -> Coupling:
    """Moves one input and counts the outputs that move; looks for derivatives beside the diagonal."""
    activation, other = build_activation(name), x.clone()
    other[0, 0] = 1 + x[0, 0].abs()  # above 0, where no activation is flat
    slopes = derivatives(activation, x)
    beside = float((slopes - torch.diag(torch.diag(slopes))).abs().max())
    return Coupling(int((activation(other) != activation(x)).sum()), beside)


@torch.no_grad()
def units_of(name: Any, pieces: Tensor, shift: float) -> Units:
    """Returns what the view says of the units of a feed-forward network with biases of -``shift``."""
    network: Any = build_mlp(name, D_MODEL, D_FF)
    network.up_proj.bias.fill_(-shift)
    return activations(network, pieces).used[0]


@torch.no_grad()
def against_hand(name: ActivationName, pieces: Tensor) -> float:
    """Computes a gated network by its formula, with matrices alone, and compares."""
    network: Any = build_mlp(name, D_MODEL, D_FF, bias=False)
    gate, up, down = (layer.weight.T for layer in (network.gate_proj, network.up_proj, network.down_proj))
    acts = {"glu": torch.sigmoid, "reglu": torch.relu, "geglu": torch.nn.functional.gelu}
    by_hand = (acts.get(name, torch.nn.functional.silu)(pieces @ gate) * (pieces @ up)) @ down
    return float((network(pieces) - by_hand).abs().max() / by_hand.abs().max())


@torch.no_grad()
def growth(name: Any, pieces: Tensor) -> float:
    """Returns the factor by which outputs grow when ``up`` is doubled."""
    network = build_mlp(name, D_MODEL, D_FF, bias=False)
    before = network(pieces).norm()
    network.up_proj.weight.mul_(2)
    return float(network(pieces).norm() / before)


def check(measured: Activations) -> Claims:
    """Returns whether each sentence of the answer holds."""
    separate = [each for name, each in measured.couplings.items() if name != "softmax"]
    softmax, slopes = measured.couplings["softmax"], measured.view.slopes
    dead = {name: units.dead for name, units in measured.units.items()}
    linear = [measured.doubled[name] for name in measured.gates]
    return {
        "elementwise": all(each.moved == 1 and each.beside == 0.0 for each in separate),
        "softmax": softmax.moved == measured.size and softmax.beside > 1e-3 and measured.formula < 1e-6,
        "rest": measured.rest < 1e-6,
        "slopes": max(slopes["sigmoid"]) < 0.2501 and min(max(slopes[name]) for name in ("relu", "tanh")) > 0.99,
        "dead": dead["relu"] > 0.5 * D_FF and max(dead[name] for name in ("gelu", "silu")) < 0.05 * D_FF,
        "gates": max(measured.gates.values()) < 1e-5,
        "linear": 1.999 < min(linear) <= max(linear) < 2.001 and abs(measured.doubled["gelu"] - 2) > 0.1,
    }


def facts(measured: Activations) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    dead = {name: str(measured.units[name].dead) for name in ("relu", "gelu", "silu")}
    softmax, plain = str(measured.couplings["softmax"].moved), f"{measured.doubled['gelu']:.2f}"
    return {"guess": softmax, "size": str(measured.size), "shift": f"{measured.shift:g}", "plain": plain, **dead}


def show(measured: Activations, say: Say) -> list[Part]:
    """Returns a row for each activation, and the curves with their derivatives."""
    columns = (say("name"), *(f">{say(name)}" for name in ("moved", "beside", "steepest", "left", "dead")))
    rows = []
    for name, each in measured.couplings.items():
        slopes, units = measured.view.slopes.get(name), measured.units.get(name)
        curve = (f"{max(slopes):.2f}", f"{slopes[0]:.4f}") if slopes else ("", "")
        rows.append(
            (name, str(each.moved), f"{each.beside:.3f}", *curve, f"{units.dead}/{units.units}" if units else "")
        )
    view = measured.view
    curves = [Curves(say("values"), "x", view.x, view.values), Curves(say("slopes"), "x", view.x, view.slopes)]
    gated = [(name, f"{apart:.0e}", f"{measured.doubled[name]:.3f}") for name, apart in measured.gates.items()]
    names = (say("name"), f">{say('apart')}", f">{say('doubled')}")
    return [Table(say("table"), columns, rows), *curves, Table(say("gated"), names, gated)]
