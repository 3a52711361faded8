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


# above this many, x does not fit the CPU's cache, and several passes take longer than torch's one kernel
_MOST_ELEMENTS = 1 << 22


class _GeluTanh(torch.autograd.Function):
    """x sigmoid(2 u), which saves the sigmoid for backward: on a CPU half the time of torch's kernel with tanh."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gate = torch.addcmul(x.new_tensor(_LINEAR), x, x, value=_CUBIC).mul_(x).sigmoid_()
        ctx.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, gate = ctx.saved_tensors
        # the derivative is (1 + (1 - gate) x (2 u)') gate
        slope = torch.addcmul(x.new_tensor(_LINEAR), x, x, value=3 * _CUBIC).mul_(x)
        return slope.addcmul_(slope, gate, value=-1).add_(1).mul_(gate).mul_(grads[0])


class GeluTanh(nn.Module):
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): GPT-2's GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        on_cpu = x.device.type == "cpu" and not torch.compiler.is_compiling()
        if on_cpu and x.requires_grad and x.numel() <= _MOST_ELEMENTS:
            out: Tensor = _GeluTanh.apply(x)  # type: ignore[no-untyped-call]
            return out
        return functional.gelu(x, approximate="tanh")


def build_activation(name: ActivationName) -> nn.Module:
    """Builds an activation by its config word; for a gated one, the function that is applied to the gate."""
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
