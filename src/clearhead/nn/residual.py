"""The residual connection as a module, with dropout and stochastic depth on its branch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clearhead.nn.dropout import Dropout

Hidden = Float[Tensor, "batch seq d_model"]


class Residual(nn.Module):
    """x + dropout(branch); in training, a sequence loses its whole branch at rate ``drop_path``.

    Args:
        dropout: rate on the branch's elements.
        drop_path: rate of dropping the branch of a sequence (Huang et al. 2016, arXiv:1603.09382).
        skip: False returns the branch alone, to show what the connection is for.
    """

    def __init__(self, *, dropout: float = 0.0, drop_path: float = 0.0, skip: bool = True) -> None:
        super().__init__()
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path = {drop_path}: must be at least 0 and below 1")
        self.dropout = Dropout(dropout)
        self.drop_path = drop_path
        self.skip = skip

    def forward(self, x: Hidden, branch: Hidden) -> Hidden:
        branch = self.dropout(branch)
        if self.training and self.drop_path:
            kept = torch.rand(len(x), 1, 1, device=x.device) >= self.drop_path
            branch = branch * (kept.to(x.dtype) / (1 - self.drop_path))
        return x + branch if self.skip else branch

    def extra_repr(self) -> str:
        return f"drop_path={self.drop_path}, skip={self.skip}"
