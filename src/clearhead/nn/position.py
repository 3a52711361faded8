"""Positions: sinusoidal and learned tables, added to the embeddings; rotary and ALiBi, applied in attention."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

PositionName = Literal["sinusoidal", "learned", "rotary", "alibi", "none"]
"""Each acts in one of three places, on embeddings, on queries and keys, or on attention scores, and each place has its
``build_`` function below. Every model calls all three, so that a new word is wired here for all of them."""


def sinusoidal_table(max_seq_len: int, d_model: int) -> Float[Tensor, "max_seq_len d_model"]:
    """Returns a table with sines in the even features, cosines in the odd ones (Vaswani et al. 2017, section 3.5).

    Args:
        max_seq_len: number of positions.
        d_model: number of features, even.
    """
    if d_model % 2:
        raise ValueError(f"d_model = {d_model}: sinusoidal positions need an even number")
    rates = torch.exp(torch.arange(0, d_model, 2, dtype=torch.float64) * (-math.log(10000.0) / d_model))
    angles = torch.arange(max_seq_len, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()  # pos half 2 -> pos d_model


class SinusoidalPosition(nn.Module):
    """The sinusoidal table as a module: positions -> [..., d_model]; it has no parameters and no saved state."""

    table: Tensor

    def __init__(self, max_seq_len: int, d_model: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoidal_table(max_seq_len, d_model), persistent=False)

    def forward(self, positions: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq d_model"]:
        return self.table[positions]


class LearnedPosition(nn.Module):
    """A trained vector per position (Gehring et al. 2017; BERT and GPT-2)."""

    def __init__(self, max_seq_len: int, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_seq_len, d_model))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, positions: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq d_model"]:
        return nn.functional.embedding(positions, self.weight)


class Rotary(nn.Module):
    """Rotates pairs of features of queries and keys by their position (Su et al. 2021, arXiv:2104.09864).

    Feature i is paired with feature i + head_dim / 2, as in Llama. The score of a query and a key then depends on their
    positions only through the distance.

    Args:
        head_dim: features of a head, even.
        max_seq_len: number of positions.
        theta: the base of the rotation rates.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, head_dim: int, max_seq_len: int, *, theta: float = 10000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"head_dim = {head_dim}: rotary positions need an even number")
        rates = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        angles = torch.outer(torch.arange(max_seq_len, dtype=torch.float64), rates).repeat(1, 2)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "batch heads seq head_dim"],
        start: int = 0,
        positions: Int[Tensor, "batch seq"] | None = None,
    ) -> Float[Tensor, "batch heads seq head_dim"]:
        """Rotates ``x`` by ``positions``; None counts from ``start``."""
        if positions is None:
            cos, sin = self.cos[start : start + x.shape[2]], self.sin[start : start + x.shape[2]]
        else:
            cos, sin = self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)  # batch 1 seq head_dim
        low, high = x.chunk(2, dim=-1)
        return x * cos + torch.cat([-high, low], dim=-1) * sin


class Alibi(nn.Module):
    """A penalty on the scores that grows with distance, one slope per head (Press et al. 2021, arXiv:2108.12409).

    The slopes of n heads are 2^(-8/n), 2^(-16/n), ...; if n is not a power of two, those of the next lower power come
    first and the rest are every second slope of the next higher one. For keys to the right, which only an encoder
    sees, the heads take the slopes in reverse order: with the same slopes on both sides, a sentence and its reversal
    would look the same.
    """

    slopes: Tensor

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        power = 2 ** math.floor(math.log2(n_heads))
        slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
        slopes += [2 ** (-4 * (2 * i + 1) / power) for i in range(n_heads - power)]
        self.register_buffer("slopes", torch.tensor(slopes), persistent=False)

    def forward(self, n_queries: int, n_keys: int) -> Float[Tensor, "heads queries keys"]:
        """Returns the bias for the last ``n_queries`` of ``n_keys`` positions."""
        keys = torch.arange(n_keys, device=self.slopes.device)
        back = keys[n_keys - n_queries :, None] - keys  # queries keys
        left, right = self.slopes[:, None, None], self.slopes.flip(0)[:, None, None]
        return right * back.clamp(max=0) - left * back.clamp(min=0)


def build_position(name: PositionName, max_seq_len: int, d_model: int) -> SinusoidalPosition | LearnedPosition | None:
    """Builds by its config word what is added to embeddings; None where positions act elsewhere, or nowhere."""
    match name:
        case "sinusoidal":
            return SinusoidalPosition(max_seq_len, d_model)
        case "learned":
            return LearnedPosition(max_seq_len, d_model)
        case "rotary" | "alibi" | "none":
            return None


def build_rotary(name: PositionName, head_dim: int, max_seq_len: int, *, theta: float = 10000.0) -> Rotary | None:
    """Builds by its config word what turns queries and keys; None where positions act elsewhere, or nowhere."""
    match name:
        case "rotary":
            return Rotary(head_dim, max_seq_len, theta=theta)
        case "sinusoidal" | "learned" | "alibi" | "none":
            return None


def build_score_bias(name: PositionName, n_heads: int) -> Alibi | None:
    """Builds by its config word what is added to attention scores; None where positions act elsewhere, or nowhere."""
    match name:
        case "alibi":
            return Alibi(n_heads)
        case "sinusoidal" | "learned" | "rotary" | "none":
            return None
