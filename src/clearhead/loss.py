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


def widened(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns half precision as float32, in which all losses are computed, and anything else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


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
    logits = widened(logits)
    total = functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=label_smoothing)
    if z_loss:
        total = total + z_loss * logits.logsumexp(dim=-1).square().sum()
    return total, len(targets)


def weighted_cross_entropy(
    logits: Float[Tensor, "rows classes"],
    targets: Int[Tensor, " rows"],
    class_weights: Float[Tensor, " classes"],
    *,
    label_smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """``cross_entropy`` in which a row counts as much as the weight of its target's class.

    Weights are for classes of unequal size. The mean of a step is the sum of all its batches' sums over the sum of all
    their weights: batches' own means are of unequal weight, and a mean of them would be another number.

    Args:
        logits: [rows, classes].
        targets: [rows], classes.
        class_weights: [classes], at least 0.
        label_smoothing: as in ``cross_entropy``; the whole row, smoothed part and all, has its target's weight.

    Returns:
        The weighted sum over rows and the sum of the rows' weights.
    """
    each = functional.cross_entropy(widened(logits), targets, reduction="none", label_smoothing=label_smoothing)
    weights = class_weights[targets]
    return torch.dot(weights, each), weights.sum()


def squared_error(values: Float[Tensor, "*shape"], targets: Float[Tensor, "*shape"]) -> tuple[Float[Tensor, ""], int]:
    """Squared differences, summed, and their number: the loss of regression."""
    return (widened(values) - targets).square().sum(), targets.numel()


def linear_cross_entropy(
    x: Float[Tensor, "rows d_model"],
    weight: Float[Tensor, "vocab d_model"],
    targets: Int[Tensor, " rows"],
    config: LossConfig,
    *,
    bias: Float[Tensor, " vocab"] | None = None,
) -> tuple[Float[Tensor, ""], int]:
    """``cross_entropy`` of ``x @ weight.T + bias`` without ever holding all logits.

    Chunks of rows go through output layer, softmax and both gradients while they are in cache, so that memory is
    chunk_size x vocab and the backward pass only scales. Same result as the plain computation up to rounding.
    """
    with torch.autocast(x.device.type, enabled=False):
        total: Tensor = _LinearCrossEntropy.apply(widened(x), weight, bias, targets, config, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return total, len(targets)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        config: LossConfig,
        with_grad: bool,
    ) -> Tensor:
        grad_x = torch.empty_like(x) if with_grad and x.requires_grad else None
        grad_weight = torch.zeros_like(weight) if with_grad and weight.requires_grad else None
        grad_bias = torch.zeros_like(bias) if bias is not None and with_grad and bias.requires_grad else None
        # the evenly spread part of the target is the same for every row and piece, so it never meets a chunk: its loss
        # is a product of sums, and so are its gradients
        spread, weight_sum = config.label_smoothing / weight.shape[0], weight.sum(dim=0)
        total = x.new_zeros(()) if bias is None else -spread * len(x) * bias.sum()
        for start in range(0, len(x), config.chunk_size):
            rows = slice(start, start + config.chunk_size)
            value, probs = _chunk(functional.linear(x[rows], weight, bias), targets[rows, None], config)
            total += value
            total -= spread * (x[rows] @ weight_sum).sum()
            if grad_x is not None:
                torch.mm(probs, weight, out=grad_x[rows])
            if grad_weight is not None:
                grad_weight.addmm_(probs.T, x[rows])
            if grad_bias is not None:
                grad_bias += probs.sum(dim=0)
        if grad_x is not None:
            grad_x -= spread * weight_sum
        if grad_weight is not None:
            grad_weight -= spread * x.sum(dim=0)
        if grad_bias is not None:
            grad_bias -= spread * len(x)
        ctx.save_for_backward(grad_x, grad_weight, grad_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if grad is None else grads[0] * grad for grad in ctx.saved_tensors), None, None, None


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


def plain_loss() -> LossConfig:
    """Likelihood as it is: what perplexity is computed from."""
    return LossConfig(label_smoothing=0.0)
