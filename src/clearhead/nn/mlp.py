"""The position-wise feed-forward network, plain or gated."""

from jaxtyping import Float
from torch import Tensor, nn

from clearhead.nn.activation import ActivationName, build_activation, is_gated
from clearhead.nn.dropout import Dropout

Hidden = Float[Tensor, "batch seq d_model"]


class MLP(nn.Module):
    """down(act(up(x))) (Vaswani et al. 2017, section 3.3); sizes are features."""

    def __init__(
        self, d_model: int, d_ff: int, *, activation: nn.Module, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.up_proj = nn.Linear(d_model, d_ff, bias=bias)
        self.down_proj = nn.Linear(d_ff, d_model, bias=bias)
        self.activation = activation
        self.dropout = Dropout(dropout)

    def forward(self, x: Hidden) -> Hidden:
        return self.down_proj(self.dropout(self.activation(self.up_proj(x))))


class GatedMLP(nn.Module):
    """down(act(gate(x)) * up(x)): the GLU family (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(
        self, d_model: int, d_ff: int, *, activation: nn.Module, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(d_model, d_ff, bias=bias)
        self.up_proj = nn.Linear(d_model, d_ff, bias=bias)
        self.down_proj = nn.Linear(d_ff, d_model, bias=bias)
        self.activation = activation
        self.dropout = Dropout(dropout)

    def forward(self, x: Hidden) -> Hidden:
        return self.down_proj(self.dropout(self.activation(self.gate_proj(x)) * self.up_proj(x)))


def build_mlp(
    name: ActivationName, d_model: int, d_ff: int, *, bias: bool = True, dropout: float = 0.0
) -> MLP | GatedMLP:
    """Builds the feed-forward network for an activation's config word; gated ones have a third projection."""
    network = GatedMLP if is_gated(name) else MLP
    return network(d_model, d_ff, activation=build_activation(name), bias=bias, dropout=dropout)
