"""Muon (Jordan et al. 2024): momentum, orthogonalized before each update of a matrix."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from clearhead.nn.shards import part_like, whole
from clearhead.optim.lerp import lerp_


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum for the matrices inside a model.

    torch.optim.Muon always multiplies in bfloat16, which takes a hundred times as long as float32 on hardware without
    bfloat16 products; this one uses bfloat16 only where the hardware has it.

    Args:
        params: parameter groups of matrices [out, in].
        lr: step size; updates are scaled by 0.2 sqrt(max(out, in)), so that learning rates for AdamW fit (Liu et al.
            2025, arXiv:2502.16982).
        momentum: momentum of the gradients, in Nesterov's form.
        weight_decay: decoupled weight decay.
    """

    def __init__(self, params: Iterable[Any], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Updates every matrix that has a gradient."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, param.grad, group)

    def _update(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        # lerp on lists, since only that form works on sharded matrices; a sharded one is gathered to be orthogonalized
        buffer, ahead = state["momentum_buffer"], grad.clone()
        lerp_([buffer], [grad], 1 - group["momentum"])
        lerp_([ahead], [buffer], group["momentum"])
        update = part_like(param, orthogonalize(whole(ahead)))
        param.mul_(1 - group["lr"] * group["weight_decay"])
        param.add_(update, alpha=-group["lr"] * 0.2 * max(param.shape) ** 0.5)


def orthogonalize(matrix: Float[Tensor, "rows columns"], steps: int = 5) -> Float[Tensor, "rows columns"]:
    """Brings the singular values of ``matrix`` near 1 by Newton-Schulz steps of degree five.

    The coefficients are those of Jordan et al.: small singular values grow fast, and all end between about 0.7 and 1.2.
    """
    x = matrix / (matrix.norm() + 1e-7)
    x = x.to(product_dtype(x.device.type)) if x.dtype == torch.float32 else x
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315) @ x
    return (x.T if tall else x).to(matrix.dtype)


@cache
def product_dtype(device: str) -> torch.dtype:
    """Returns bfloat16 if a device of that kind ("cpu", "cuda") multiplies it in hardware, else float32."""
    on_gpu = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    on_cpu = device == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.bfloat16 if on_gpu or on_cpu else torch.float32
