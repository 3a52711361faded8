"""Losses as (sum, count): the step takes the mean once, over all its real tokens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from clearhead.ranges import Rate, Rows, Weight


@dataclass(frozen=True)
class LossConfig:
    """What training minimizes."""

    label_smoothing: Rate = 0.1
    """Share of probability spread evenly over the vocabulary (Szegedy et al. 2016)."""
    z_loss: Weight = 0.0
    """Weight of log(sum of exp(logits))^2, which keeps logits small (Chowdhery et al. 2022)."""
    chunk_size: Rows = 512
    """Rows whose logits are computed at a time in training; smaller needs less memory."""
    consistency: Weight = 0.0
    """Weight of the divergence between two passes over each batch whose dropout differs (R-Drop, Liang et al. 2021):
    alpha there. Above 0 a step takes twice the time; it pays where text is scarce and time is not."""


def passes_of(model: nn.Module, consistency: float) -> int:
    """Returns how often each batch goes through ``model``: twice in training where ``consistency`` has a weight."""
    return 2 if consistency and model.training else 1


def repeated(passes: int, *tensors: Any) -> tuple[Any, ...]:
    """Returns each tensor with its rows ``passes`` times, one pass after the other; None stays None."""
    if passes == 1:
        return tensors
    return tuple(None if tensor is None else torch.cat([tensor] * passes) for tensor in tensors)


def widened(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Converts half precision to float32, in which all losses are computed; returns other types unchanged."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def cross_entropy(
    logits: Float[Tensor, "rows vocab"],
    targets: Int[Tensor, " rows"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> tuple[Float[Tensor, ""], int]:
    """Computes the cross-entropy in nats, summed over the rows, none of which is padding.

    Args:
        logits: [rows, vocab].
        targets: [rows], ids.
        label_smoothing: e in the target distribution, which is 1 - e at the target plus e / vocab everywhere.
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
    """Computes ``cross_entropy`` with each row weighted by the class of its target, for classes of unequal size.

    The mean of a step is the total of its batches' sums divided by the total of their weights; the mean of the batches'
    means would be a different number, since batches differ in weight.

    Args:
        logits: [rows, classes].
        targets: [rows], classes.
        class_weights: [classes], at least 0.
        label_smoothing: as in ``cross_entropy``; the weight of the target's class applies to the smoothed part too.

    Returns:
        The weighted sum over rows and the sum of the rows' weights.
    """
    each = functional.cross_entropy(widened(logits), targets, reduction="none", label_smoothing=label_smoothing)
    weights = class_weights[targets]
    return torch.dot(weights, each), weights.sum()


def squared_error(values: Float[Tensor, "*shape"], targets: Float[Tensor, "*shape"]) -> tuple[Float[Tensor, ""], int]:
    """Returns the sum of the squared differences and their number: the loss of regression."""
    return (widened(values) - targets).square().sum(), targets.numel()


def linear_cross_entropy(
    x: Float[Tensor, "rows d_model"],
    weight: Float[Tensor, "vocab d_model"],
    targets: Int[Tensor, " rows"],
    config: LossConfig,
    *,
    bias: Float[Tensor, " vocab"] | None = None,
    passes: int = 1,
) -> tuple[Float[Tensor, ""], int]:
    """Computes ``cross_entropy`` of ``x @ weight.T + bias`` without ever holding all logits.

    With two ``passes`` the second half of the rows are the first ones once more, under another dropout. Then the sum is
    the mean of both halves' plus ``config.consistency`` / 4 times KL(p || q) + KL(q || p), where p and q are what a row
    predicts in either pass (Liang et al. 2021, halved, so that its first part is a cross-entropy still); the number is
    that of one half.

    For one chunk of rows after another, the forward pass computes logits, softmax and the gradients of ``x`` and
    ``weight``, so that it needs memory for chunk_size x vocab logits only; the backward pass scales these gradients.
    The result equals that of the plain computation up to rounding.

    Under autocast to bfloat16, or to float16 on a GPU, the products have factors of that type; softmax, loss and sums
    stay float32.
    """
    kind = _kind_of_products(x.device.type)
    with torch.autocast(x.device.type, enabled=False):
        plan = _Plan(config, passes, kind, torch.is_grad_enabled())
        total: Tensor = _LinearCrossEntropy.apply(widened(x), weight, bias, targets, plan)  # type: ignore[no-untyped-call]
    return (total, len(targets)) if passes == 1 else (total / passes, len(targets) // passes)


def divergence(
    first: Float[Tensor, "rows vocab"], second: Float[Tensor, "rows vocab"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "rows vocab"], Float[Tensor, "rows vocab"]]:
    """Computes KL(p || q) + KL(q || p), summed over rows, of p = softmax(first) and q = softmax(second).

    Returns:
        The sum and its gradients with respect to ``first`` and ``second``.
    """
    log_p, log_q = torch.log_softmax(first, dim=1), torch.log_softmax(second, dim=1)
    p, q, ratio = log_p.exp(), log_q.exp(), log_p.sub_(log_q)
    to_second, to_first = (p * ratio).sum(dim=1, keepdim=True), -(q * ratio).sum(dim=1, keepdim=True)
    apart = p - q
    grad_first = (ratio - to_second).mul_(p).add_(apart)
    grad_second = (ratio.neg_() - to_first).mul_(q).sub_(apart)
    return (to_second + to_first).sum(), grad_first, grad_second


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        total, *grads = divergence(first, second)
        ctx.save_for_backward(*grads)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        return tuple(grads[0] * grad for grad in ctx.saved_tensors)


def between_passes(logits: Float[Tensor, "rows classes"], consistency: float) -> Float[Tensor, ""]:
    """Returns ``consistency`` / 4 times ``divergence`` of the first half of the rows and the second, with gradients."""
    total: Tensor = _Divergence.apply(*widened(logits).chunk(2))  # type: ignore[no-untyped-call]
    return consistency / 4 * total


def _kind_of_products(device: str) -> torch.dtype | None:
    """Returns the type that the factors of a loss's products are rounded to; None leaves them as they are."""
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    return None if device == "cpu" and kind != torch.bfloat16 else kind


_COMPILED = ContextVar("compiled", default=False)


@contextmanager
def compiled_losses() -> Iterator[None]:
    """Within the block, on a GPU, what ``linear_cross_entropy`` does with the logits of a chunk is compiled.

    A GPU then reads and writes them three times and not twelve, which takes longer than the products themselves.
    """
    before = _COMPILED.set(True)
    try:
        yield
    finally:
        _COMPILED.reset(before)


class _Plan(NamedTuple):
    """How a loss is computed."""

    config: LossConfig
    passes: int
    kind: torch.dtype | None
    """What the factors of products are rounded to."""
    with_grad: bool


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        plan: _Plan,
    ) -> Tensor:
        config, passes, kind, with_grad = plan
        grad_x = torch.empty_like(x) if with_grad and x.requires_grad else None
        grad_weight = torch.zeros_like(weight) if with_grad and weight.requires_grad else None
        grad_bias = torch.zeros_like(bias) if bias is not None and with_grad and bias.requires_grad else None
        # the smoothed part of the target is the same for every row and piece, so it is left out of the chunks: its loss
        # and its gradients follow from sums over rows and over pieces
        spread, weight_sum = config.label_smoothing / weight.shape[0], weight.sum(dim=0)
        total = x.new_zeros(()) if bias is None else -spread * len(x) * bias.sum()
        states, table = (x, weight) if kind is None else (x.to(kind), weight.to(kind))
        offset = bias if kind is None or bias is None else bias.to(kind)
        half = len(x) // passes
        chunks = _compiled_chunks() if _COMPILED.get() and x.is_cuda else _chunks
        for start in range(0, half, config.chunk_size):
            end = min(start + config.chunk_size, half)
            both = [slice(start + number * half, end + number * half) for number in range(passes)]
            logits = [functional.linear(states[rows], table, offset) for rows in both]
            value, grads = chunks(logits, targets[both[0], None], config)
            total += value
            for rows, full in zip(both, grads, strict=True):
                total -= spread * (x[rows] @ weight_sum).sum()
                if grad_bias is not None:
                    grad_bias += full.sum(dim=0, dtype=grad_bias.dtype)
                grad = full if kind is None else full.to(kind)
                if grad_x is not None:
                    _product_into(grad_x[rows], grad, table)
                if grad_weight is not None:
                    _add_product(grad_weight, grad.T, states[rows])
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
        return *(None if grad is None else grads[0] * grad for grad in ctx.saved_tensors), None, None


def _product_into(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Writes ``left @ right`` to ``out``; a CPU gives a product in the type of its factors only."""
    if out.dtype == left.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left @ right)


def _add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds ``left @ right`` to ``out``."""
    if out.dtype == left.dtype:
        out.addmm_(left, right)
    else:
        out += left @ right


def _chunks(logits: list[Tensor], labels: Tensor, config: LossConfig) -> tuple[Tensor, list[Tensor]]:
    """Returns what ``_chunk`` does of each pass over some rows; of two passes with the divergence between them."""
    logits = [widened(one) for one in logits]
    apart = divergence(*logits) if len(logits) > 1 else None
    values, grads = zip(*(_chunk(one, labels, config) for one in logits), strict=True)
    total = torch.stack(values).sum()
    if apart is not None:
        weight = config.consistency / len(logits)
        total += weight * apart[0]
        for grad, other in zip(grads, apart[1:], strict=True):
            grad.add_(other, alpha=weight)
    return total, list(grads)


def _rounded_chunks(logits: list[Tensor], labels: Tensor, config: LossConfig) -> tuple[Tensor, list[Tensor]]:
    """Returns what ``_chunks`` does, the gradients in the type of their logits, so that they are written as such."""
    total, grads = _chunks(logits, labels, config)
    return total, [grad.to(one.dtype) for grad, one in zip(grads, logits, strict=True)]


@cache
def _compiled_chunks() -> Callable[[list[Tensor], Tensor, LossConfig], tuple[Tensor, list[Tensor]]]:
    return torch.compile(_rounded_chunks)


def _chunk(logits: Tensor, labels: Tensor, config: LossConfig) -> tuple[Tensor, Tensor]:
    """Returns the loss of some rows and its gradient with respect to ``logits``, both without the smoothed part."""
    at_label = logits.gather(1, labels)
    probs = torch.softmax(logits, dim=1)
    # softmax takes one pass, logsumexp four; log Z = top logit - log of its probability, which is never 0
    log_z = logits.amax(dim=1, keepdim=True) - probs.amax(dim=1, keepdim=True).log()
    label_prob = 1 - config.label_smoothing
    total = (log_z - label_prob * at_label).sum()
    if config.z_loss:
        total = total + config.z_loss * log_z.square().sum()
        probs *= 1 + 2 * config.z_loss * log_z
    return total, probs.scatter_add_(1, labels, torch.full_like(at_label, -label_prob))


def places_of(mask: Bool[Tensor, " rows"], count: int) -> Int[Tensor, " count"]:
    """Returns the numbers of the rows where ``mask`` is True.

    Args:
        mask: [rows].
        count: how often it is True, so that nothing waits for a GPU to have counted.
    """
    found = torch.nonzero_static(mask, size=count) if mask.is_cuda else mask.nonzero()
    return found[:, 0]


def plain_loss() -> LossConfig:
    """Returns the config of the plain negative log-likelihood, from which perplexity is computed."""
    return LossConfig(label_smoothing=0.0)
