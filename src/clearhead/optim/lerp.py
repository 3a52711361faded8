"""Moving many tensors a part of the way toward others."""

from collections.abc import Sequence

import torch
from torch import Tensor


def lerp_(tensors: Sequence[Tensor], others: Sequence[Tensor], weight: float) -> None:
    """Adds ``weight * (other - tensor)`` to each tensor, in place: one call for all of them where PyTorch has it.

    That call is private to PyTorch. Without it they move one by one to the same bits, but for tensors of which each
    process has a part: those end with an error of PyTorch that says so.
    """
    together = getattr(torch, "_foreach_lerp_", None)
    if together is not None:
        together(list(tensors), list(others), weight)
        return
    for tensor, other in zip(tensors, others, strict=True):
        tensor.lerp_(other, weight)
