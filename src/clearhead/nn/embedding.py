"""The input modules of a stack: piece embeddings plus positions, scaled; for BERT with segments and a norm."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clearhead.nn.dropout import Dropout
from clearhead.nn.norm import Norm
from clearhead.nn.position import LearnedPosition, PositionName, SinusoidalPosition, build_position

Ids = Int[Tensor, "batch seq"]
OfEach = Int[Tensor, "batch seq"] | None  # a number for each piece, such as its position or segment
Hidden = Float[Tensor, "batch seq d_model"]


class Embedding(nn.Module):
    """dropout(scale * table[ids] + position).

    Args:
        vocab_size: rows of the table.
        d_model: features.
        pad_id: the id of padding, whose row starts at zero and gets no gradient as an input; None: no padding.
        max_seq_len: longest sequence.
        position: what ``build_position`` builds for this word is added.
        dropout: rate on the sum.
        scale: multiply the table's rows by sqrt(d_model), as Vaswani et al. 2017 do with tied tables.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        *,
        pad_id: int | None,
        max_seq_len: int,
        position: PositionName = "sinusoidal",
        dropout: float = 0.0,
        scale: bool = True,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model, padding_idx=pad_id)
        self.position = build_position(position, max_seq_len, d_model)
        self.scale, self.max_seq_len = math.sqrt(d_model) if scale else 1.0, max_seq_len
        self.dropout = Dropout(dropout)

    def forward(self, ids: Ids, *, positions: OfEach = None, start: int = 0) -> Hidden:
        """Embeds ``ids``.

        Args:
            ids: [batch, seq].
            positions: [batch, seq], the position of each piece; None counts from ``start``.
            start: position of the first piece.

        Raises:
            ValueError: the sequence ends beyond ``max_seq_len``.
        """
        _check_length(start + ids.shape[1], self.max_seq_len)
        return self.dropout(_placed(self.tokens(ids) * self.scale, self.position, positions, start))


class SegmentedEmbedding(nn.Module):
    """dropout(norm(table[ids] + position + segment)): the input of BERT (Devlin et al. 2019, figure 2).

    Args:
        vocab_size: rows of the table.
        d_model: features.
        pad_id: the id of padding, whose row starts at zero and gets no gradient as an input; None: no padding.
        max_seq_len: longest sequence.
        n_segments: rows of the table of segments.
        norm: of the sum.
        position: what ``build_position`` builds for this word is added.
        dropout: rate on what the norm gives.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        *,
        pad_id: int | None,
        max_seq_len: int,
        n_segments: int,
        norm: Norm,
        position: PositionName = "learned",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model, padding_idx=pad_id)
        self.position = build_position(position, max_seq_len, d_model)
        self.segments = nn.Embedding(n_segments, d_model)
        self.max_seq_len = max_seq_len
        self.norm = norm
        self.dropout = Dropout(dropout)

    def forward(
        self,
        ids: Ids,
        *,
        segments: OfEach = None,
        positions: OfEach = None,
        real: Bool[Tensor, "batch seq"] | None = None,
    ) -> Hidden:
        """Embeds ``ids``.

        Args:
            ids: [batch, seq].
            segments: [batch, seq], the segment of each piece; None: all pieces are of segment 0.
            positions: [batch, seq], the position of each piece; None counts from 0.
            real: [batch, seq], False at padding, for norms with statistics over positions; None: no padding.

        Raises:
            ValueError: the sequence is longer than ``max_seq_len``.
        """
        _check_length(ids.shape[1], self.max_seq_len)
        x = _placed(self.tokens(ids), self.position, positions, 0)
        x = x + (self.segments.weight[0] if segments is None else self.segments(segments))
        return self.dropout(self.norm(x, real))


def _check_length(end: int, limit: int) -> None:
    if end > limit:
        raise ValueError(f"a sequence of {end} pieces: must be at most max_seq_len = {limit}")


def _placed(
    x: Tensor, position: SinusoidalPosition | LearnedPosition | None, positions: Tensor | None, start: int
) -> Tensor:
    """Adds what ``position`` gives for ``positions``, or for positions counted from ``start`` if they are None."""
    if position is None:
        return x
    if positions is None:
        positions = torch.arange(start, start + x.shape[1], device=x.device)[None]
    placed: Tensor = x + position(positions)
    return placed
