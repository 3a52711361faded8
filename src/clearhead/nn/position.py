"""Positions: sinusoidal and learned tables, added to the embeddings; rotary and ALiBi, applied in attention."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from clearhead.ranges import Base, Factor, Length, Scale, Weight

PositionName = Literal["sinusoidal", "learned", "rotary", "alibi", "none"]
"""Each acts in one of three places, on embeddings, on queries and keys, or on attention scores, and each place has its
``build_`` function below. Every model calls all three, so that a new word is wired here for all of them."""
_BLOCK = 1 << 16  # positions that are computed at a time
RotaryScalingName = Literal["linear", "dynamic", "llama3", "yarn"]
"""How the rotation rates are lowered for texts longer than those of pretraining; see ``RotaryScalingConfig``."""


@dataclass(frozen=True)
class RotaryScalingConfig:
    """How rotation is slowed down, so that a model reads longer texts than it was pretrained on."""

    kind: RotaryScalingName = "linear"
    """linear: all rates divided by ``factor`` (Chen et al. 2023, arXiv:2306.15595); dynamic: a larger base, which grows
    with the text beyond ``original_max_seq_len``; llama3 and yarn (Peng et al. 2023, arXiv:2309.00071): slow rates are
    divided by ``factor`` and fast ones kept."""
    factor: Factor = 1.0
    """By how much longer texts become."""
    original_max_seq_len: Length | None = None
    """Context length of pretraining; unset means ``max_seq_len``."""
    low_freq_factor: Scale = 1.0
    """llama3: a rate that turns less often than this in the original length is divided by ``factor``."""
    high_freq_factor: Scale = 4.0
    """llama3: a rate that turns more often than this in the original length is kept."""
    beta_fast: Scale = 32.0
    """yarn: a rate that turns more often than this in the original length is kept."""
    beta_slow: Scale = 1.0
    """yarn: a rate that turns less often than this in the original length is divided by ``factor``."""
    attention_factor: Weight | None = None
    """yarn: factor of the rotated queries and keys; unset means 0.1 ln(factor) + 1."""
    mscale: Weight | None = None
    """yarn: with ``mscale_all_dim``, takes the place of the 0.1 in that formula, divided by 10."""
    mscale_all_dim: Weight | None = None
    """yarn: the same for the formula's value by which the first is divided."""
    truncate: bool = True
    """yarn: whether the borders between fast and slow are rounded to whole features."""

    def __post_init__(self) -> None:
        if self.high_freq_factor <= self.low_freq_factor:
            low = self.low_freq_factor
            raise ValueError(f"high_freq_factor = {self.high_freq_factor}: must be above low_freq_factor = {low}")


@dataclass(frozen=True)
class PositionConfig:
    """What tells a decoder-only model where a piece stands."""

    position: PositionName = "learned"
    """What tells the model where a piece stands."""
    rotary_theta: Base = 10000.0
    """Base of the rotation rates of rotary positions."""
    rotary_scaling: RotaryScalingConfig | None = None
    """Slows rotary positions down, so that the model reads longer texts than it was pretrained on; unset: not."""


def sinusoidal_table(max_seq_len: int, d_model: int) -> Float[Tensor, "max_seq_len d_model"]:
    """Returns a table with sines in the even features, cosines in the odd ones (Vaswani et al. 2017, section 3.5).

    Args:
        max_seq_len: number of positions.
        d_model: number of features, even.
    """
    if d_model % 2:
        raise ValueError(f"d_model = {d_model}: sinusoidal positions need an even number")
    rates = torch.exp(torch.arange(0, d_model, 2, dtype=torch.float64) * (-math.log(10000.0) / d_model))
    table = torch.empty(max_seq_len, d_model)
    for rows, angles in _angles(max_seq_len, rates):
        table[rows] = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # rows half 2 -> rows d_model
    return table


def _angles(count: int, rates: Float[Tensor, " half"]) -> Iterator[tuple[slice, Float[Tensor, "rows half"]]]:
    """Yields positions times ``rates`` in double precision, by blocks: all at once would take five times a table."""
    for start in range(0, count, _BLOCK):
        rows = slice(start, min(start + _BLOCK, count))
        yield rows, torch.outer(torch.arange(rows.start, rows.stop, dtype=torch.float64), rates)


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
        scaling: how the rates are lowered; None: not at all. ``dynamic`` leaves them as they are here.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        head_dim: int,
        max_seq_len: int,
        *,
        theta: float = 10000.0,
        scaling: RotaryScalingConfig | None = None,
    ) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"head_dim = {head_dim}: rotary positions need an even number")
        rates = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        rates, gain = _scaled(rates, theta, scaling, max_seq_len)
        cos, sin = torch.empty(max_seq_len, head_dim), torch.empty(max_seq_len, head_dim)
        for rows, angles in _angles(max_seq_len, rates.repeat(2)):
            cos[rows], sin[rows] = gain * angles.cos(), gain * angles.sin()
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(
        self,
        x: Float[Tensor, "batch heads seq head_dim"],
        start: int = 0,
        positions: Int[Tensor, "batch seq"] | None = None,
    ) -> Float[Tensor, "batch heads seq head_dim"]:
        """Rotates ``x`` by ``positions``; None counts from ``start``."""
        if positions is None:
            return _turned(x, self.cos[start : start + x.shape[2]], self.sin[start : start + x.shape[2]])
        return _turned(x, self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1))  # batch 1 seq head_dim


class DynamicRotary(Rotary):
    """``Rotary`` whose base grows with a text that is longer than ``original``, by the length of each row.

    base = theta * (factor * length / original - factor + 1)^(head_dim / (head_dim - 2)), as in transformers. All
    states of such a text change with each further piece, so it is computed anew and not from a cache.
    """

    def __init__(
        self, head_dim: int, max_seq_len: int, *, original: int, factor: float, theta: float = 10000.0
    ) -> None:
        super().__init__(head_dim, max_seq_len, theta=theta)
        if head_dim < 4:
            raise ValueError(f"head_dim = {head_dim}: dynamic rotary positions need at least 4")
        self.head_dim, self.original, self.factor, self.theta = head_dim, original, factor, theta

    def forward(
        self,
        x: Float[Tensor, "batch heads seq head_dim"],
        start: int = 0,
        positions: Int[Tensor, "batch seq"] | None = None,
    ) -> Float[Tensor, "batch heads seq head_dim"]:
        """Rotates ``x`` by ``positions``; None counts from ``start``. A row is as long as its last position says."""
        if positions is None:
            positions = torch.arange(start, start + x.shape[2], device=x.device)[None]
        lengths = positions.amax(dim=1) + 1
        if int(lengths.max()) <= self.original:
            return super().forward(x, start, positions)
        growth = (self.factor * lengths.double() / self.original - self.factor + 1).clamp(min=1.0)
        bases = self.theta * growth ** (self.head_dim / (self.head_dim - 2))
        powers = torch.arange(0, self.head_dim, 2, dtype=torch.float64, device=x.device) / self.head_dim
        rates = bases[:, None, None] ** -powers  # batch 1 half
        angles = (positions[..., None] * rates).repeat(1, 1, 2).unsqueeze(1)  # batch 1 seq head_dim
        return _turned(x, angles.cos().to(self.cos.dtype), angles.sin().to(self.cos.dtype))


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-high, low], dim=-1) * sin


def _scaled(
    rates: Float[Tensor, " half"], theta: float, scaling: RotaryScalingConfig | None, max_seq_len: int
) -> tuple[Float[Tensor, " half"], float]:
    """Returns the lowered rotation rates, and the factor of what they rotate."""
    if scaling is None or scaling.kind == "dynamic":
        return rates, 1.0
    original, slow = scaling.original_max_seq_len or max_seq_len, rates / scaling.factor
    match scaling.kind:
        case "linear":
            return slow, 1.0
        case "llama3":
            turns, low, high = original * rates / (2 * math.pi), scaling.low_freq_factor, scaling.high_freq_factor
            kept = ((turns - low) / (high - low)).clamp(0, 1)
            return kept * rates + (1 - kept) * slow, 1.0
        case "yarn":
            kept = 1 - _yarn_ramp(len(rates), theta, scaling, original)
            return kept * rates + (1 - kept) * slow, _yarn_gain(scaling)


def _yarn_ramp(half: int, theta: float, scaling: RotaryScalingConfig, original: int) -> Float[Tensor, " half"]:
    """Returns 0 for the features that turn fast, 1 for those that turn slowly, and a line between."""

    def feature(turns: float) -> float:
        return 2 * half * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = feature(scaling.beta_fast), feature(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * half - 1)
    high += 0.001 * (low == high)
    return ((torch.arange(half, dtype=torch.float64) - low) / (high - low)).clamp(0, 1)


def _yarn_gain(scaling: RotaryScalingConfig) -> float:
    def gain(scale: float) -> float:
        return 0.1 * scale * math.log(scaling.factor) + 1

    if scaling.attention_factor is not None:
        return scaling.attention_factor
    if scaling.mscale and scaling.mscale_all_dim:
        return gain(scaling.mscale) / gain(scaling.mscale_all_dim)
    return gain(1.0)


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


def build_rotary(
    name: PositionName,
    head_dim: int,
    max_seq_len: int,
    *,
    theta: float = 10000.0,
    scaling: RotaryScalingConfig | None = None,
) -> Rotary | None:
    """Builds by its config word what turns queries and keys; None where positions act elsewhere, or nowhere."""
    match name:
        case "rotary":
            if scaling is not None and scaling.kind == "dynamic":
                original = scaling.original_max_seq_len or max_seq_len
                return DynamicRotary(head_dim, max_seq_len, original=original, factor=scaling.factor, theta=theta)
            return Rotary(head_dim, max_seq_len, theta=theta, scaling=scaling)
        case "sinusoidal" | "learned" | "alibi" | "none":
            return None


def build_score_bias(name: PositionName, n_heads: int) -> Alibi | None:
    """Builds by its config word what is added to attention scores; None where positions act elsewhere, or nowhere."""
    match name:
        case "alibi":
            return Alibi(n_heads)
        case "sinusoidal" | "learned" | "rotary" | "none":
            return None
