"""Losses as (sum, count): a mean is taken once, over all real tokens of a step."""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Lt
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class LossConfig:
    """What training minimizes."""

    label_smoothing: Annotated[float, Ge(0.0), Lt(1.0)] = 0.1
    """Share of probability spread evenly over the vocabulary (Szegedy et al. 2016)."""
    z_loss: Annotated[float, Ge(0.0)] = 0.0
    """Weight of log(sum of exp(logits))^2, which keeps logits small (Chowdhery et al. 2022)."""
    chunk_size: Annotated[int, Ge(1)] = 512
    """Rows whose logits exist at a time in training."""


def cross_entropy(
    logits: Float[Tensor, "rows vocab"],
    targets: Int[Tensor, " rows"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> tuple[Float[Tensor, ""], int]:
    """Cross-entropy in nats, summed over rows that are all real.

    Args:
        logits: [rows, vocab].
        targets: [rows], ids.
        label_smoothing: the target distribution is 1 - e at the target plus e / vocab everywhere.
        z_loss: adds z_loss * logsumexp(logits)^2.

    Returns:
        The sum over rows and the number of rows.
    """
    total = functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=label_smoothing)
    if z_loss:
        total = total + z_loss * logits.logsumexp(dim=-1).square().sum()
    return total, len(targets)


def linear_cross_entropy(
    x: Float[Tensor, "rows d_model"],
    weight: Float[Tensor, "vocab d_model"],
    targets: Int[Tensor, " rows"],
    config: LossConfig,
) -> tuple[Float[Tensor, ""], int]:
    """``cross_entropy`` of ``x @ weight.T`` without ever holding all logits.

    Chunks of rows go through output layer, softmax and both gradients while they are in cache, so that memory is
    chunk_size x vocab and the backward pass only scales. Same result as the plain computation up to rounding.
    """
    total: Tensor = _LinearCrossEntropy.apply(x, weight, targets, config, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return total, len(targets)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, config: LossConfig, with_grad: bool) -> Tensor:
        grad_x = torch.empty_like(x) if with_grad and x.requires_grad else None
        grad_weight = torch.zeros_like(weight) if with_grad and weight.requires_grad else None
        smooth, vocab = config.label_smoothing, weight.shape[0]
        weight_sum = weight.sum(dim=0)
        total = x.new_zeros(())
        for start in range(0, len(x), config.chunk_size):
            rows = slice(start, start + config.chunk_size)
            labels = targets[rows, None]
            value, probs = _chunk(x[rows] @ weight.T, labels, config)
            total += value
            # the evenly spread part of the target is the same for every row and piece, so it never meets the chunk:
            # its loss is a product of sums, and its gradient follows below
            total -= smooth / vocab * (x[rows] @ weight_sum).sum()
            if grad_x is not None:
                torch.mm(probs, weight, out=grad_x[rows])
            if grad_weight is not None:
                grad_weight.addmm_(probs.T, x[rows])
        if grad_x is not None:
            grad_x -= smooth / vocab * weight_sum
        if grad_weight is not None:
            grad_weight -= smooth / vocab * x.sum(dim=0)
        ctx.save_for_backward(grad_x, grad_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        grad_x, grad_weight = (None if grad is None else grads[0] * grad for grad in ctx.saved_tensors)
        return grad_x, grad_weight, None, None, None


def _chunk(logits: Tensor, labels: Tensor, config: LossConfig) -> tuple[Tensor, Tensor]:
    """Returns the loss of some rows and its gradient by ``logits``, both without the evenly spread part."""
    at_label = logits.gather(1, labels)
    probs = torch.softmax(logits, dim=1)
    # softmax is one pass where logsumexp is four; log Z = top logit - log of its probability, which is never 0
    log_z = logits.amax(dim=1, keepdim=True) - probs.amax(dim=1, keepdim=True).log()
    kept = 1 - config.label_smoothing
    total = (log_z - kept * at_label).sum()
    if config.z_loss:
        total = total + config.z_loss * log_z.square().sum()
        probs *= 1 + 2 * config.z_loss * log_z
    return total, probs.scatter_add_(1, labels, torch.full_like(at_label, -kept))
