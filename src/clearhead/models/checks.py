"""Checks of the sizes of every attention model's config."""

from typing import Protocol, runtime_checkable

from clearhead.nn.layer import BlockConfig
from clearhead.nn.position import PositionName


@runtime_checkable
class Sizes(Protocol):
    """The fields that the configs of all attention models have."""

    @property
    def d_model(self) -> int:
        """Features of a hidden state."""

    @property
    def d_ff(self) -> int:
        """Features inside the feed-forward network."""

    @property
    def n_heads(self) -> int:
        """Attention heads."""

    @property
    def n_kv_heads(self) -> int | None:
        """Heads of keys and values."""

    @property
    def max_seq_len(self) -> int:
        """Longest sequence, in pieces."""

    @property
    def dropout(self) -> float:
        """Dropout on the residual branches."""

    @property
    def position(self) -> PositionName:
        """Kind of positions."""

    @property
    def block(self) -> BlockConfig:
        """Parts of the layers."""


def check_sizes(config: Sizes) -> None:
    """Raises ValueError if sizes do not fit together; the message names the keys."""
    d_model, n_heads, kv_heads = config.d_model, config.n_heads, config.n_kv_heads or config.n_heads
    if d_model % n_heads:
        raise ValueError(f"model.n_heads = {n_heads}: must divide model.d_model = {d_model}")
    if n_heads % kv_heads:
        raise ValueError(f"model.n_kv_heads = {kv_heads}: must divide model.n_heads = {n_heads}")
    if config.position == "rotary" and d_model // n_heads % 2:
        raise ValueError(f"model.position = 'rotary': needs an even head size, not {d_model // n_heads}")
    if config.position == "rotary" and config.block.attention == "additive":
        raise ValueError("model.position = 'rotary': needs another model.block.attention than 'additive'")
    if config.position == "sinusoidal" and d_model % 2:
        raise ValueError(f"model.d_model = {d_model}: sinusoidal positions need an even number")
    if config.block.norm == "group" and d_model % config.block.norm_groups:
        raise ValueError(f"model.block.norm_groups = {config.block.norm_groups}: must divide model.d_model = {d_model}")
