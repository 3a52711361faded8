"""Activations by name: element-wise ones, softmax, and the gates of the GLU family."""

import math
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

Elementwise = Literal["relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "softmax"]
Gated = Literal["glu", "reglu", "geglu", "swiglu"]
ActivationName = Literal[Elementwise, Gated]


def is_gated(name: ActivationName) -> bool:
    """Whether ``name`` couples two projections, ``act(gate) * up`` (Shazeer 2020, arXiv:2002.05202)."""
    return name in get_args(Gated)


# x (1 + tanh(u)) / 2 = x sigmoid(2 u), where 2 u = _LINEAR x + _CUBIC x^3
_LINEAR = 2 * math.sqrt(2 / math.pi)
_CUBIC = 0.044715 * _LINEAR


_IN_CACHE = 1 << 22  # elements above which several passes cost more than torch's one slow one


class _GeluTanh(torch.autograd.Function):
    """x sigmoid(2 u), with the sigmoid kept for the way back: on a CPU half the time of torch's kernel with tanh."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        share = torch.addcmul(x.new_tensor(_LINEAR), x, x, value=_CUBIC).mul_(x).sigmoid_()
        ctx.save_for_backward(x, share)
        return x * share

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, share = ctx.saved_tensors
        # (1 + (1 - share) x (2 u)') share
        slope = torch.addcmul(x.new_tensor(_LINEAR), x, x, value=3 * _CUBIC).mul_(x)
        return slope.addcmul_(slope, share, value=-1).add_(1).mul_(share).mul_(grads[0])


class GeluTanh(nn.Module):
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): GPT-2's GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if x.requires_grad and x.device.type == "cpu" and x.numel() <= _IN_CACHE and not torch.compiler.is_compiling():
            out: Tensor = _GeluTanh.apply(x)  # type: ignore[no-untyped-call]
            return out
        return functional.gelu(x, approximate="tanh")


def build_activation(name: ActivationName) -> nn.Module:
    """Returns the activation itself; for a gated name, the one that the gate goes through."""
    match name:
        case "relu" | "reglu":
            return nn.ReLU()
        case "gelu" | "geglu":
            return nn.GELU()
        case "gelu_tanh":
            return GeluTanh()
        case "silu" | "swiglu":
            return nn.SiLU()
        case "sigmoid" | "glu":
            return nn.Sigmoid()
        case "tanh":
            return nn.Tanh()
        case "softmax":
            return nn.Softmax(dim=-1)
