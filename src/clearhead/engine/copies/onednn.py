"""Linear layers in float32 whose weight is brought into oneDNN's order once.

A linear layer on few rows spends most of its time bringing the weight into the order that its kernel wants, and does so
anew at every call. The kernels that take a weight in that order are private to PyTorch: ask ``choose`` for them.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clearhead.engine.copies.linear import FastLinear, Then, joined

ROWS = 16  # usual number of input rows while decoding: a hint for the layout


class PackedLinear(FastLinear):
    """A ``FastLinear`` in float32, its weight in oneDNN's order."""

    def __init__(self, *parts: nn.Linear, then: Then = "none") -> None:
        super().__init__()
        weight, self.bias = joined(parts)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        self.then = then

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """See ``FastLinear``."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self.then, [], "")

    def add_to(self, residual: Float[Tensor, "rows outputs"], x: Float[Tensor, "rows inputs"]) -> Tensor:
        """See ``FastLinear``; one pass computes product and sum."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")
