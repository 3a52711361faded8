"""Low-rank adaptation: a frozen linear layer plus a trained low-rank product, merged into it after training."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clearhead.ranges import Rate, Scale, Size


@dataclass(frozen=True)
class LoraConfig:
    """Which linear layers are adapted, and by products of which rank and scale."""

    rank: Size = 8
    """Rank of the trained product."""
    alpha: Scale = 16.0
    """Scale: the product is multiplied by alpha / rank."""
    dropout: Rate = 0.0
    """Dropout on the input of the product."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Names of the linear layers to adapt; up_proj, down_proj and gate_proj may be named too."""


class LoraLinear(nn.Module):
    """x W^T + b + (alpha / rank) x A^T B^T with W and b frozen (Hu et al. 2021, arXiv:2106.09685).

    B starts at zero, so the adapted layer at first computes what the original one does.

    Args:
        linear: the layer to adapt; its weights are frozen.
        rank: rows of A, columns of B.
        alpha: scale; the division by rank makes updates about as large for any rank.
        dropout: rate on the input of A.
    """

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__()
        _check_rank(rank, linear, "rank", "the layer")
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


def _check_rank(rank: int, linear: nn.Linear, key: str, layer: str) -> None:
    smaller = min(linear.weight.shape)
    if not 1 <= rank <= smaller:
        raise ValueError(f"{key} = {rank}: must be from 1 to {smaller}, the smaller side of {layer}")


_OUTPUTS = {"lm_head"}


def add_lora(model: nn.Module, config: LoraConfig) -> int:
    """Freezes ``model`` and adapts those of its linear layers that ``config.targets`` names.

    Returns:
        The number of layers adapted.

    Raises:
        ValueError: a name is that of no layer, or of an output layer, whose weight the loss reads and which may be the
            embedding table; or the rank is above the smaller side of a layer.
    """
    model.requires_grad_(False)
    targets = [(parent, name) for parent, name in _linears(model) if name in config.targets]
    known = {name for _, name in _linears(model)} - _OUTPUTS
    if wrong := [name for name in config.targets if name not in known]:
        rule = "an output layer is not adapted" if _OUTPUTS & {*wrong} else "no linear layer has such a name"
        raise ValueError(f"lora.targets = {wrong}: {rule}; there are {', '.join(sorted(known))}")
    for parent, name in targets:  # all of them, before the first is changed
        _check_rank(config.rank, getattr(parent, name), "lora.rank", name)
    for parent, name in targets:
        linear = getattr(parent, name)
        setattr(parent, name, LoraLinear(linear, rank=config.rank, alpha=config.alpha, dropout=config.dropout))
    return len(targets)


def merge_lora(model: nn.Module) -> int:
    """Replaces each adapted layer by a plain one that computes the same, and unfreezes ``model``.

    Returns:
        The number of layers merged.
    """
    adapted = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, LoraLinear)
    ]
    for parent, name, child in adapted:
        setattr(parent, name, child.merged())
    model.requires_grad_(True)
    return len(adapted)


def _linears(model: nn.Module) -> list[tuple[nn.Module, str]]:
    return [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]
