"""Activations by name: element-wise ones, softmax, and the gates of the GLU family."""

from typing import Literal, get_args

from torch import nn

Elementwise = Literal["relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "softmax"]
Gated = Literal["glu", "reglu", "geglu", "swiglu"]
ActivationName = Literal[Elementwise, Gated]


def is_gated(name: ActivationName) -> bool:
    """Whether ``name`` couples two projections, ``act(gate) * up`` (Shazeer 2020, arXiv:2002.05202)."""
    return name in get_args(Gated)


def build_activation(name: ActivationName) -> nn.Module:
    """Returns the activation itself; for a gated name, the one that the gate goes through."""
    match name:
        case "relu" | "reglu":
            return nn.ReLU()
        case "gelu" | "geglu":
            return nn.GELU()
        case "gelu_tanh":
            return nn.GELU(approximate="tanh")
        case "silu" | "swiglu":
            return nn.SiLU()
        case "sigmoid" | "glu":
            return nn.Sigmoid()
        case "tanh":
            return nn.Tanh()
        case "softmax":
            return nn.Softmax(dim=-1)
