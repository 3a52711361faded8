"""Low-rank adaptation: a frozen linear layer plus a small trained product, merged back when training is over."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class LoraConfig:
    """Which layers are adapted, and how much."""

    rank: Annotated[int, Ge(1)] = 8
    """Rank of the trained product."""
    alpha: Annotated[float, Gt(0.0)] = 16.0
    """Scale: the product counts alpha / rank times."""
    dropout: Annotated[float, Ge(0.0), Lt(1.0)] = 0.0
    """Rate on the input of the product."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Names of the linear layers; up_proj, down_proj and gate_proj are others."""


class LoraLinear(nn.Module):
    """x W^T + b + (alpha / rank) x A^T B^T with W and b frozen (Hu et al. 2021, arXiv:2106.09685).

    B starts at zero, so that training begins with the function of the layer that is adapted.

    Args:
        linear: the layer; its weights are kept as they are and frozen.
        rank: rows of A, columns of B.
        alpha: scale; rank and alpha together keep the size of an update when the rank changes.
        dropout: rate on the input of A.
    """

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__()
        if not 1 <= rank <= min(linear.weight.shape):
            raise ValueError(f"rank = {rank}: must be from 1 to {min(linear.weight.shape)}, the layer's smaller side")
        self.linear = linear.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.empty(rank, linear.in_features))
        self.lora_b = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.scale, self.dropout = alpha / rank, nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        adapted = self.dropout(x) @ self.lora_a.T @ self.lora_b.T
        return self.linear(x) + self.scale * adapted

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Returns the plain layer that computes the same: W + (alpha / rank) B A."""
        self.linear.weight += self.scale * (self.lora_b @ self.lora_a)
        return self.linear


def add_lora(model: nn.Module, config: LoraConfig) -> int:
    """Freezes ``model`` and adapts its linear layers with the names in ``config``; returns how many.

    Raises:
        ValueError: no layer has such a name.
    """
    model.requires_grad_(False)
    found = [(parent, name) for parent, name in _linears(model) if name in config.targets]
    if not found:
        known = ", ".join(sorted({name for _, name in _linears(model)}))
        raise ValueError(f"lora.targets = {list(config.targets)}: no linear layer has such a name; there are {known}")
    for parent, name in found:
        linear = getattr(parent, name)
        setattr(parent, name, LoraLinear(linear, rank=config.rank, alpha=config.alpha, dropout=config.dropout))
    return len(found)


def merge_lora(model: nn.Module) -> int:
    """Puts plain layers with the same function back in place of the adapted ones; returns how many."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, LoraLinear)
    ]
    for parent, name, child in found:
        setattr(parent, name, child.merged())
    model.requires_grad_(True)
    return len(found)


def _linears(model: nn.Module) -> list[tuple[nn.Module, str]]:
    return [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
