"""What the packed copy of a model asks of a linear layer, whatever form its weight has."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Then = Literal["none", "relu"]


class FastLinear(nn.Module, ABC):
    """Linear layers of one input as one product, prepared once and then only read.

    Args:
        parts: the layers; their outputs are joined in this order. All of them have a bias, or none has.
        then: what follows the product.
    """

    @abstractmethod
    def __init__(self, *parts: nn.Linear, then: Then = "none") -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Returns ``then(x @ weight.T + bias)``."""

    @abstractmethod
    def add_to(self, residual: Float[Tensor, "rows outputs"], x: Float[Tensor, "rows inputs"]) -> Tensor:
        """Returns ``residual + x @ weight.T + bias``; for layers that nothing follows."""


def joined(
    parts: Sequence[nn.Linear],
) -> tuple[Float[Tensor, "outputs inputs"], Float[Tensor, " outputs"] | None]:
    """Returns the weight and the bias of one layer that computes what ``parts`` compute, side by side."""
    weight = torch.cat([part.weight.detach() for part in parts]) if len(parts) > 1 else parts[0].weight.detach()
    biases = [part.bias.detach() for part in parts if part.bias is not None]
    return weight, torch.cat(biases) if biases else None
