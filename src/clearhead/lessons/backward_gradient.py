"""What the argument of ``backward`` is: the vector of a vector-Jacobian product.

The Jacobian of a layer says how each output moves with each input. It is measured here from outside, by moving one
input after another; what ``backward`` gives is compared with it, for softmax and for layers of clearhead.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Part, Table, sizes
from clearhead.lessons.lesson import Claims, Say
from clearhead.nn.attention import SelfAttention
from clearhead.nn.dropout import Dropout
from clearhead.nn.mlp import MLP
from clearhead.nn.norm import LayerNorm

LIMITS = {"size": (2, 8), "seq": (1, 16)}
MOVED = 1e-5  # by which an input is moved, either way
D_MODEL = 8
Layer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Product:
    """Of one layer and a random vector v: largest differences from the gradient after ``backward(v)``."""

    shape: list[int]
    numbers: int
    """Of the measured Jacobian J."""
    by_hand: float
    """Of v J."""
    weighted: float
    """Of the gradient of the scalar ``(v * y).sum()``."""


@dataclass(frozen=True)
class BackwardGradient:
    """What was measured."""

    vector: list[float]
    jacobian: list[list[float]]
    """Of softmax: row i has the derivatives of output i."""
    by_hand: list[float]
    gradient: list[float]
    rows: list[list[float]]
    """Gradients after ``backward`` of vectors with a single 1."""
    refused: str
    scalar: float
    halves: float
    """Largest differences of gradients: of ``loss.backward(1)``; of two layers, one after the other and at once."""
    layers: dict[str, Product]


def run(*, size: int = 4, seq: int = 4, seed: int = 0) -> BackwardGradient:
    """Compares gradients of softmax of ``size`` numbers, and of layers of ``seq`` positions, with their Jacobians."""
    torch.manual_seed(seed)
    x, vector = torch.randn(2, size, dtype=torch.double)
    softmax, loss = nn.Softmax(-1), torch.linalg.vector_norm
    jacobian, states = jacobian_of(softmax, x), torch.randn(1, seq, D_MODEL, dtype=torch.double)
    norm, mlp = LayerNorm(D_MODEL, eps=1e-5).double(), MLP(D_MODEL, 32, activation=nn.ReLU()).double()
    attend, dropout = SelfAttention(D_MODEL, n_heads=2).double(), Dropout(0.25)

    def dropped(x: Tensor) -> Tensor:
        torch.manual_seed(seed)  # the same elements each time, or there is no derivative to speak of
        return dropout(x)

    layers: dict[str, Layer] = {"LayerNorm": norm, "MLP": mlp, "SelfAttention": attend, "Dropout": dropped}
    whole = gradient(lambda x: loss(mlp(norm(x))), states)
    handed = gradient(lambda hidden: loss(mlp(hidden)), norm(states))  # what the second half hands to the first
    refused = ""
    try:
        gradient(softmax, x)
    except RuntimeError as error:
        refused = str(error)
    return BackwardGradient(
        vector=vector.tolist(),
        jacobian=jacobian.tolist(),
        by_hand=(vector @ jacobian).tolist(),
        gradient=gradient(softmax, x, vector).tolist(),
        rows=[gradient(softmax, x, row).tolist() for row in torch.eye(size, dtype=torch.double)],
        refused=refused,
        scalar=apart(gradient(loss, x), gradient(loss, x, torch.tensor(1.0, dtype=torch.double))),
        halves=apart(whole, gradient(norm, states, handed)),
        layers={name: compared(layer, states) for name, layer in layers.items()},
    )


def gradient(function: Layer, x: Tensor, vector: Tensor | None = None) -> Tensor:
    """Returns ``x.grad`` after ``function(x).backward(vector)``."""
    leaf = x.detach().clone().requires_grad_()
    function(leaf).backward(vector)
    assert leaf.grad is not None
    return leaf.grad


def apart(one: Tensor, other: Tensor) -> float:
    """Returns the largest difference of two tensors."""
    return float((one - other).abs().max())


def jacobian_of(function: Layer, x: Tensor) -> Tensor:
    """Returns derivatives [outputs, inputs] by central differences, without autograd."""
    steps = MOVED * torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape)
    with torch.no_grad():
        columns = [(function(x + step) - function(x - step)).flatten() / (2 * MOVED) for step in steps]
    return torch.stack(columns, dim=1)


def compared(layer: Layer, x: Tensor) -> Product:
    """Compares the gradient of a layer with its Jacobian, for a random vector."""
    vector, jacobian = torch.randn_like(x), jacobian_of(layer, x)
    given, weighted = gradient(layer, x, vector), gradient(lambda x: (vector * layer(x)).sum(), x)
    by_hand = (vector.flatten() @ jacobian).view_as(x)
    return Product(list(x.shape), jacobian.numel(), apart(by_hand, given), apart(given, weighted))


def check(measured: BackwardGradient) -> Claims:
    """Returns whether each sentence of the answer holds."""
    by_hand, given, layers = torch.tensor(measured.by_hand), torch.tensor(measured.gradient), measured.layers.values()
    return {
        "refused": "scalar outputs" in measured.refused,
        "product": apart(by_hand, given) < 1e-6 and float(given.abs().max()) > 1e-4,
        "layers": all(layer.by_hand < 1e-5 for layer in layers),
        "row": apart(torch.tensor(measured.rows), torch.tensor(measured.jacobian)) < 1e-6,
        "weighted": all(layer.weighted < 1e-9 for layer in layers),
        "scalar": measured.scalar < 1e-12,
        "halves": measured.halves < 1e-9,
    }


def facts(measured: BackwardGradient) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    layer = measured.layers["LayerNorm"]
    numbers = {"inputs": str(math.prod(layer.shape)), "numbers": f"{layer.numbers:,}"}
    return {"guess": numbers["numbers"], "refused": measured.refused, **numbers}


def show(measured: BackwardGradient, say: Say) -> list[Part]:
    """Returns the product for softmax, and a row for each layer."""
    columns = ("v", *(f">∂y/∂x{number}" for number in range(1, len(measured.vector) + 1)))
    lines = {f"{v:.4f}": row for v, row in zip(measured.vector, measured.jacobian, strict=True)}
    lines |= {"v J": measured.by_hand, "x.grad": measured.gradient}
    rows = [(name, *(f"{number:.4f}" for number in numbers)) for name, numbers in lines.items()]
    heads = (say("layer"), say("shape"), f">{say('numbers')}", f">{say('difference')}")
    layers = [(name, sizes(of.shape), f"{of.numbers:,}", f"{of.by_hand:.0e}") for name, of in measured.layers.items()]
    return [Table(say("softmax"), columns, rows), Table(say("layers"), heads, layers)]
