"""One optimizer step: accumulate over batches, clip, update."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from clearhead.errors import ModelError
from clearhead.optim.build import Optimizers


@runtime_checkable
class Counted(Protocol):
    """A batch that knows how many real targets it has."""

    @property
    def target_count(self) -> int:
        """Real target pieces."""


B = TypeVar("B", bound=Counted)
LossFunction = Callable[[B], tuple[Tensor, int]]
"""Batch -> (sum of the loss over real targets, their number)."""


def target_count(batch: Counted) -> float:
    """Each target counts as one."""
    return float(batch.target_count)


def train_step(
    model: nn.Module,
    batches: Sequence[B],
    loss_of: LossFunction[B],
    optimizers: Optimizers,
    *,
    grad_clip_norm: float,
    weight_of: Callable[[B], float] = target_count,
) -> tuple[float, float]:
    """Takes one step on ``batches`` as if they were one batch: the loss is divided by all real targets together.

    Args:
        model: its gradients are clipped.
        batches: one or more, of any sizes.
        loss_of: gives each batch's (sum, count).
        optimizers: rates already set.
        grad_clip_norm: 0 does not clip.
        weight_of: what a batch adds to the number that the loss is divided by, where targets do not all count as one.

    Returns:
        Mean loss per target, and the norm of the gradients before clipping.

    Raises:
        ModelError: the loss or a gradient is not finite; nothing has been updated.
    """
    total = sum(map(weight_of, batches))
    loss = 0.0
    optimizers.zero_grad()
    for batch in batches:
        summed, _ = loss_of(batch)
        mean = summed / total
        mean.backward()
        loss += float(mean.detach())
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = float(nn.utils.get_total_norm(grads))
    if not torch.isfinite(torch.tensor([loss, norm])).all():
        raise ModelError(
            f"loss {loss} with gradient norm {norm}: not finite; lower train.lr or raise train.warmup_steps"
        )
    if 0 < grad_clip_norm < norm:
        torch._foreach_mul_(grads, grad_clip_norm / (norm + 1e-6))
    optimizers.step()
    return loss, norm
