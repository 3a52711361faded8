"""One optimizer step: accumulate, unscale, clip, update; skipped if the loss or a gradient is not finite."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from clearhead.nn.norm import norms_of
from clearhead.optim.build import Optimizers
from clearhead.training.distributed import Engine, LossModule
from clearhead.training.precision import Precision


@runtime_checkable
class SizedBatch(Protocol):
    """A batch that knows how many real targets it has."""

    @property
    def target_count(self) -> int:
        """Real target pieces."""


B = TypeVar("B", bound=SizedBatch)
LossFunction = Callable[[B], tuple[Tensor, int]]
"""Batch -> (sum of the loss over real targets, their number)."""


class Outcome(NamedTuple):
    """The result of a step."""

    loss: float
    """Mean per target."""
    grad_norm: float
    """Of all gradients together, before clipping."""
    own_loss: float
    """This process's share of the loss."""
    taken: bool
    """False if the loss or the norm is not finite: then nothing was updated but the loss scale of float16."""


def target_count(batch: SizedBatch) -> float:
    """Each target counts as one."""
    return float(batch.target_count)


def scale_(tensors: Sequence[Tensor], factor: float) -> None:
    """Multiplies all tensors by ``factor``, in place; in one call where PyTorch has it, which is private, else each."""
    together = getattr(torch, "_foreach_mul_", None)
    if together is not None:
        together(list(tensors), factor)
        return
    for tensor in tensors:
        tensor.mul_(factor)


def _values(scalars: Sequence[Tensor]) -> list[float]:
    """Returns tensors of one number each as numbers; a GPU is waited for once, with all its work already asked for."""
    values: list[float] = torch.stack([scalar.to(scalars[0].device) for scalar in scalars]).tolist()
    return values


def train_step(
    model: nn.Module,
    batches: Sequence[B],
    loss_of: LossFunction[B],
    optimizers: Optimizers,
    *,
    grad_clip_norm: float,
    weight_of: Callable[[B], float] = target_count,
    precision: Precision | None = None,
    engine: Engine | None = None,
) -> Outcome:
    """Takes one step on ``batches`` as if they were one batch: the loss is divided by all real targets together.

    Args:
        model: its gradients are clipped.
        batches: one or more, of any sizes.
        loss_of: gives each batch's (sum, count).
        optimizers: rates already set.
        grad_clip_norm: 0 does not clip.
        weight_of: what a batch adds to the divisor of the loss, if targets do not all count as one.
        precision: of the products; None is float32.
        engine: shares the step among processes, each with the same number of batches; None is this process alone. A
            batch without targets adds nothing to loss and divisor.
    """
    numbers, engine = precision or Precision(), engine or Engine(LossModule(model))
    (total,) = engine.ranks.sum(float(sum(weight_of(batch) for batch in batches if batch.target_count)))
    means: list[Tensor] = []
    world = engine.ranks.world
    statistics = [(buffer, buffer.clone()) for norm in norms_of(model) for buffer in norm.buffers()]
    optimizers.zero_grad()
    for number, batch in enumerate(batches, 1):
        with engine.accumulating(last=number == len(batches)):
            with numbers.autocast():
                summed, _ = engine(partial(loss_of, batch))
            # gradients are averaged over the processes: times their number, the average is the sum
            mean = summed * (world if batch.target_count else 0) / total
            numbers.scaler.scale(mean).backward()
        means.append(mean.detach())
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    for part in optimizers.parts:
        numbers.scaler.unscale_(part)
    *each, norm = _values([*means, engine.norm(grads)])
    own_loss = 0.0
    for value in each:
        own_loss += value / world
    (loss,) = engine.ranks.sum(own_loss)
    taken = math.isfinite(loss) and math.isfinite(norm)
    if taken:
        if 0 < grad_clip_norm < norm:
            scale_(grads, grad_clip_norm / (norm + 1e-6))
        optimizers.step(numbers.scaler.step)
    else:
        for buffer, before in statistics:  # a forward pass has moved those of a batch norm
            buffer.copy_(before)
    numbers.scaler.update()
    return Outcome(loss, norm, own_loss, taken)
