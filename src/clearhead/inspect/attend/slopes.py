"""Softmax of some scores, and its Jacobian: how each weight moves with each score."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from clearhead.arguments import checked
from clearhead.drawing.grid import Heatmap, number
from clearhead.drawing.report import Note, Part, Table, View
from clearhead.errors import UsageError

MOST = 64  # keys whose derivatives are kept: those with the largest weights


@dataclass(frozen=True)
class SoftmaxView(View):
    """Weights and their derivatives by the scores."""

    names: list[str]
    scores: list[float]
    """-inf where the mask is."""
    weights: list[float]
    entropy: float
    """In nats."""
    kept: list[int]
    """Numbers of the scores in ``jacobian``."""
    jacobian: list[list[float]]
    """Derivative of each weight (row) by each score (column): diag(p) - p pᵀ."""
    formula: float
    """Largest difference between that and the Jacobian that autograd gives."""
    rest: float
    """Largest sum of a row of autograd's Jacobian, in absolute value: 0, as the weights always sum to 1."""
    where: str = ""
    """Whose scores they are."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return (
            f"softmax of {len(self.scores)} scores: {self.where}"
            if self.where
            else f"softmax of {len(self.scores)} scores"
        )

    def parts(self) -> list[Part]:
        """See ``View``."""
        top, most = max(self.scores), math.log(max(sum(score > -math.inf for score in self.scores), 1))
        rows = [
            (name, number(score), f"{math.exp(score - top):.4f}", f"{p:.4f}", f"{p * (1 - p):.4f}")
            for name, score, p in zip(self.names, self.scores, self.weights, strict=True)
        ]
        marked = frozenset([max(range(len(self.weights)), key=self.weights.__getitem__)])
        columns = ("key", ">score s", ">exp(s - max)", ">weight p", ">p (1 - p)")
        parts: list[Part] = [Note(self.title)]
        parts += [
            Table(
                "a weight is its share of the exponentials; it moves by p (1 - p) with its own score",
                columns,
                rows,
                marked,
            ),
            Note(f"entropy {self.entropy:.3f} nats, of {most:.3f} for an even spread"),
        ]
        if len(self.kept) < len(self.scores):
            parts.append(Note(f"below are the {len(self.kept)} of {len(self.scores)} keys with the largest weights"))
        names = [self.names[at] for at in self.kept]
        parts += [
            Heatmap("Jacobian diag(p) - p pᵀ: rows are weights, columns scores", names, names, self.jacobian),
            Note(f"each row sums to 0, up to {self.rest:.0e}; autograd's is the formula, up to {self.formula:.0e}"),
        ]
        return parts


def derivatives(function: Callable[[Tensor], Tensor], x: Float[Tensor, "*one size"]) -> Float[Tensor, "outputs size"]:
    """Returns autograd's derivatives of each output (row) by each input (column), of one row of inputs."""
    with torch.inference_mode(False), torch.enable_grad():
        slopes: Tensor = torch.autograd.functional.jacobian(function, x.detach().clone())
    return slopes.reshape(-1, x.numel())


def softmax_slopes(weights: Float[Tensor, " size"]) -> Float[Tensor, "size size"]:
    """Returns the derivatives of softmax by its inputs, from its outputs: diag(p) - p pᵀ."""
    return torch.diag(weights) - torch.outer(weights, weights)


@checked
def jacobian(scores: Sequence[float] | Tensor, *, names: Sequence[str] | None = None, where: str = "") -> SoftmaxView:
    """Shows the softmax of scores and its Jacobian, by formula and by autograd, in double precision.

    Args:
        scores: a row of them; -inf where a mask is.
        names: their labels; None numbers them.
        where: whose they are, for the title.

    Raises:
        UsageError: there is no score that is finite, or the scores are no row.
    """
    row = torch.as_tensor(scores).detach().double()
    if row.ndim != 1 or not row.isfinite().any() or row.isnan().any() or (row == math.inf).any():
        raise UsageError(f"scores: must be a row of numbers, some of them finite, not {list(row.shape)}")
    weights = row.softmax(dim=-1)
    slopes, measured = softmax_slopes(weights), derivatives(lambda x: x.softmax(dim=-1), row)
    kept = sorted(weights.topk(min(MOST, len(row))).indices.tolist())
    return SoftmaxView(
        names=list(names) if names is not None else list(map(str, range(len(row)))),
        scores=row.tolist(),
        weights=weights.tolist(),
        entropy=float(torch.special.entr(weights).sum()),
        kept=kept,
        jacobian=slopes[kept][:, kept].tolist(),
        formula=float((slopes - measured).abs().max()),
        rest=float(measured.sum(dim=1).abs().max()),
        where=where,
    )
