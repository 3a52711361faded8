"""The K-V cache: preallocated keys and values of all decoder layers; callers pass it in, no module owns it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

KeysValues = tuple[
    Float[Tensor, "sentences kv_heads memory head_dim"], Float[Tensor, "sentences kv_heads memory head_dim"]
]


@dataclass(frozen=True)
class FixedPlace:
    """Where a step writes whose shapes do not depend on how much the cache holds; its caller masks the rest."""

    column: Int[Tensor, "1"]
    """The column of the new piece, on the device of the cache."""
    room: int
    """How many columns, from the first on, attention sees."""


@dataclass
class LayerCache:
    """One layer's share of a ``KVCache``."""

    parent: "KVCache"
    index: int

    @property
    def length(self) -> int:
        """Positions stored before this step."""
        return self.parent.length

    def append(self, keys: Tensor, values: Tensor) -> KeysValues:
        """Stores new keys and values [rows, kv_heads, new, head_dim]; returns all of them, as views."""
        buffer, start, fixed = self.parent.buffer, self.parent.length, self.parent.fixed
        if fixed is not None:
            layer = buffer[self.index]
            layer.index_copy_(3, fixed.column, torch.stack([keys, values]).to(layer.dtype))
            return layer[0, :, :, : fixed.room], layer[1, :, :, : fixed.room]
        end = start + keys.shape[2]
        if end > buffer.shape[4]:
            raise ValueError(f"{end} positions in a cache with room for {buffer.shape[4]}: call reserve before a step")
        layer = buffer[self.index]
        layer[0, :, :, start:end] = keys
        layer[1, :, :, start:end] = values
        return layer[0, :, :, :end], layer[1, :, :, :end]


class KVCache:
    """Self-attention keys and values of every layer in one tensor, and the cross-attention ones, computed once.

    The self-attention part has a row per hypothesis, ordered by sentence; the cross-attention part has one row per
    sentence, whatever the number of beams.

    Args:
        n_layers: decoder layers.
        rows: number of hypotheses.
        kv_heads: heads of keys and values.
        head_dim: features of a head.
        capacity: positions to allocate; ``reserve`` grows it.
        like: a tensor whose dtype and device the cache takes.
    """

    def __init__(self, *, n_layers: int, rows: int, kv_heads: int, head_dim: int, capacity: int, like: Tensor) -> None:
        self.buffer = like.new_empty(n_layers, 2, rows, kv_heads, capacity, head_dim)
        self.spare: Tensor | None = None
        self.length = 0
        self.fixed: FixedPlace | None = None
        self.cross: list[KeysValues] = []
        self.layers = [LayerCache(self, index) for index in range(n_layers)]

    def reserve(self, new: int) -> None:
        """Makes room for ``new`` more positions, at least doubling when it has to grow."""
        capacity = self.buffer.shape[4]
        if self.length + new > capacity:
            shape = list(self.buffer.shape)
            shape[4] = max(2 * capacity, self.length + new)
            grown = self.buffer.new_empty(shape)
            grown[:, :, :, :, : self.length] = self.buffer[:, :, :, :, : self.length]
            self.buffer, self.spare = grown, None

    def advance(self, new: int) -> None:
        """Counts ``new`` more positions as stored; call it once all layers have appended them."""
        self.length += new

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """Makes row i continue the hypothesis of row ``rows[i]``, for beam search, within each sentence."""
        if self.spare is None or self.spare.shape != self.buffer.shape:
            self.spare = torch.empty_like(self.buffer)
        used = self.spare[:, :, :, :, : self.length]
        torch.index_select(self.buffer[:, :, :, :, : self.length], 2, rows, out=used)
        self.buffer, self.spare = self.spare, self.buffer

    def keep(self, sentences: Int[Tensor, " kept"], rows: Int[Tensor, " kept_rows"]) -> None:
        """Keeps only the given sentences and their rows, so that finished ones leave the batch."""
        self.buffer, self.spare = self.buffer.index_select(2, rows), None
        self.cross = [
            (keys.index_select(0, sentences), values.index_select(0, sentences)) for keys, values in self.cross
        ]

    def bytes_read(self) -> int:
        """Bytes of keys and values, of self- and cross-attention, that the last step of one piece read."""
        layers, two, rows, heads, _, head_dim = self.buffer.shape
        self_attention = layers * two * rows * heads * self.length * head_dim * self.buffer.element_size()
        return self_attention + sum(part.numel() * part.element_size() for pair in self.cross for part in pair)

    def bytes_written(self) -> int:
        """Bytes that a step of one piece adds."""
        layers, two, rows, heads, _, head_dim = self.buffer.shape
        return layers * two * rows * heads * head_dim * self.buffer.element_size()
