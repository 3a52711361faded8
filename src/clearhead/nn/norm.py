"""Normalization by name: layer, RMS, batch, group and instance norm; padding never enters the statistics."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

NormName = Literal["layer", "rms", "batch", "group", "instance"]
Hidden = Float[Tensor, "batch seq d_model"]
Mask = Bool[Tensor, "batch seq"] | None


class Norm(nn.Module, ABC):
    """A norm over hidden states [batch, seq, d_model]; ``mask`` is False at padding, None if there is none.

    ``position_wise`` is True if, in evaluation, a position's output depends on no other position, so that a decoder
    may run the norm on one new piece at a time. ``needs_mask`` is True if its statistics, in training at least, are
    taken over positions, so that it must be told which of them are padding.
    """

    position_wise = True
    needs_mask = False

    def __init__(self, d_model: int, *, eps: float, bias: bool = True) -> None:
        super().__init__()
        self.d_model, self.eps = d_model, eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model)) if bias else None

    @abstractmethod
    def forward(self, x: Hidden, mask: Mask = None) -> Hidden:
        """Returns the normalized states; values at padding are finite but meaningless."""

    def full(self, x: Tensor) -> Tensor:
        """Returns ``x`` in at least the precision of the weights; under autocast it may arrive in half precision."""
        return x.to(torch.promote_types(x.dtype, self.weight.dtype))

    def affine(self, x: Tensor) -> Tensor:
        """Multiplies by the weights and adds the bias."""
        return x * self.weight if self.bias is None else torch.addcmul(self.bias, x, self.weight)

    def extra_repr(self) -> str:
        return f"{self.d_model}, eps={self.eps}"


class LayerNorm(Norm):
    """Statistics over the features of each position (Ba et al. 2016, arXiv:1607.06450)."""

    def forward(self, x: Hidden, mask: Mask = None) -> Hidden:
        return functional.layer_norm(self.full(x), (self.d_model,), self.weight, self.bias, self.eps)


class RMSNorm(Norm):
    """Root mean square over the features of each position, without mean and bias (Zhang and Sennrich 2019)."""

    def __init__(self, d_model: int, *, eps: float) -> None:
        super().__init__(d_model, eps=eps, bias=False)

    def forward(self, x: Hidden, mask: Mask = None) -> Hidden:
        return functional.rms_norm(self.full(x), (self.d_model,), self.weight, self.eps)


class GroupNorm(Norm):
    """Statistics over each of ``groups`` groups of features of a position (after Wu and He 2018, arXiv:1803.08494).

    For images the statistics run over positions too; here a decoder would then see future positions.
    """

    def __init__(self, d_model: int, *, eps: float, groups: int) -> None:
        super().__init__(d_model, eps=eps)
        if d_model % groups:
            raise ValueError(f"norm_groups = {groups}: must divide d_model = {d_model}")
        self.groups = groups

    def forward(self, x: Hidden, mask: Mask = None) -> Hidden:
        rows = self.full(x).reshape(-1, self.d_model)  # batch seq d_model -> (batch seq) d_model
        return functional.group_norm(rows, self.groups, self.weight, self.bias, self.eps).view_as(x)


class BatchNorm(Norm):
    """Statistics of each feature over all real pieces of the batch (Ioffe and Szegedy 2015, arXiv:1502.03167).

    In training, ``forward`` uses the batch's own statistics and moves the running ones towards them by ``momentum``;
    in evaluation it uses the running ones. This is the only norm in which a sequence depends on the others of its
    batch, in training. A single real piece has no variance: its output is beta, and the running statistics stay.
    """

    needs_mask = True
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, d_model: int, *, eps: float, momentum: float = 0.1) -> None:
        super().__init__(d_model, eps=eps)
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(d_model))
        self.register_buffer("running_var", torch.ones(d_model))

    def forward(self, x: Hidden, mask: Mask = None) -> Hidden:
        x = self.full(x)
        if self.training and (mask is not None or x.shape[:2].numel() < 2):
            return self._over_real(x, x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask)
        out = functional.batch_norm(
            x.reshape(-1, self.d_model),  # batch seq d_model -> (batch seq) d_model
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        ).view_as(x)
        return out if mask is None else out.masked_fill(~mask.unsqueeze(-1), 0.0)

    def _over_real(self, x: Hidden, mask: Bool[Tensor, "batch seq"]) -> Hidden:
        """Returns what torch's batch norm makes of ``x[mask]`` in training, zero elsewhere.

        No shape depends on the mask's values, so that a step can be forecast, compiled and traced.
        """
        padding = ~mask.unsqueeze(-1)  # batch seq 1
        count = mask.sum()
        mean = x.masked_fill(padding, 0.0).sum((0, 1)) / count.clamp(min=1)
        centred = (x - mean).masked_fill(padding, 0.0)
        variance = centred.square().sum((0, 1)) / count.clamp(min=1)
        with torch.no_grad():
            momentum = self.momentum * (count > 1)
            self.running_mean.lerp_(mean, momentum.to(mean))
            self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), momentum.to(mean))
        return self.affine(centred * torch.rsqrt(variance + self.eps)).masked_fill(padding, 0.0)


class InstanceNorm(Norm):
    """Statistics of each feature over the real pieces of its own sequence (Ulyanov et al. 2016, arXiv:1607.08022).

    With ``causal`` they are taken over the pieces up to each position, so that a decoder does not see future ones; the
    first position is then its own mean, and its output the bias alone.
    """

    position_wise = False
    needs_mask = True

    def __init__(self, d_model: int, *, eps: float, causal: bool = False) -> None:
        super().__init__(d_model, eps=eps)
        self.causal = causal

    def forward(self, x: Hidden, mask: Mask = None) -> Hidden:
        x = self.full(x)
        real = x.new_ones(x.shape[:2]) if mask is None else mask.to(x.dtype)
        real = real.unsqueeze(-1)  # batch seq 1
        if self.causal:
            count = real.cumsum(1).clamp(min=1)
            mean = (x * real).cumsum(1) / count
            previous_mean = functional.pad(mean, (0, 0, 1, 0))[:, :-1]  # the mean up to the position before
            # Welford's increments: E[x^2] - E[x]^2 would lose all digits if the features hardly vary
            variance = ((x - previous_mean) * (x - mean) * real).cumsum(1) / count
        else:
            count = real.sum(1, keepdim=True).clamp(min=1)
            mean = (x * real).sum(1, keepdim=True) / count
            variance = ((x - mean).square() * real).sum(1, keepdim=True) / count
        out = self.affine((x - mean) * torch.rsqrt(variance + self.eps))
        # padding is not in the statistics: if real pieces hardly vary, its values would grow from norm to norm
        return out if mask is None else out.masked_fill(~mask.unsqueeze(-1), 0.0)


class NoNorm(nn.Module):
    """Takes the place of a norm and returns the states unchanged."""

    def forward(self, x: Hidden, mask: Mask = None) -> Hidden:
        return x


def build_norm(name: NormName, d_model: int, *, eps: float = 1e-5, groups: int = 8, causal: bool = False) -> Norm:
    """Builds a norm by its config word.

    Args:
        name: which of them.
        d_model: number of features.
        eps: added to the variance.
        groups: groups of features, for ``group`` only.
        causal: whether the norm is part of a decoder, for ``instance`` only.
    """
    match name:
        case "layer":
            return LayerNorm(d_model, eps=eps)
        case "rms":
            return RMSNorm(d_model, eps=eps)
        case "batch":
            return BatchNorm(d_model, eps=eps)
        case "group":
            return GroupNorm(d_model, eps=eps, groups=groups)
        case "instance":
            return InstanceNorm(d_model, eps=eps, causal=causal)


def norms_of(model: nn.Module) -> list[Norm]:
    """Returns every norm inside ``model``."""
    return [module for module in model.modules() if isinstance(module, Norm)]
