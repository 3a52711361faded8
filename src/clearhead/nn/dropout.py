"""Dropout (Srivastava et al. 2014); on a CPU one 64-bit random number decides on four elements."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class _MaskedScale(torch.autograd.Function):
    """x * mask / (1 - p), which saves the mask for backward.

    ``functional.dropout`` draws one float per element, which takes a tenth of a small model's training step on a CPU.
    Here each 64-bit number from the same generator is used as four 16-bit ones, so p is rounded to 1/65536.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None)
        draws = words.view(torch.int16)[: x.numel()].view(x.shape)
        mask = draws.ge(min(round(p * 65536), 65535) - 32768).to(x.dtype).mul_(1 / (1 - p))
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return grads[0] * mask, None


class Dropout(nn.Module):
    """Sets a share ``p`` of the elements to zero in training and scales the rest by 1 / (1 - p).

    The mask is drawn from torch's default generator of the device.

    Args:
        p: share of elements to drop, 0 <= p < 1.

    Raises:
        ValueError: p is outside [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout p = {p}: must be at least 0 and below 1")
        self.p = p

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.p)
        out: Tensor = _MaskedScale.apply(x, self.p)  # type: ignore[no-untyped-call]
        return out

    def extra_repr(self) -> str:
        return f"p={self.p}"
