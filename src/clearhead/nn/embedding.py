"""Piece embeddings with scale, positions and dropout: the input module of a stack."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from clearhead.nn.dropout import Dropout
from clearhead.nn.position import LearnedPosition, PositionName, SinusoidalPosition


class Embedding(nn.Module):
    """dropout(scale * table[ids] + position).

    Args:
        vocab_size: rows of the table.
        d_model: features.
        pad_id: row that starts at zero and that inputs never train; None has none.
        max_seq_len: longest sequence.
        position: sinusoidal or learned are added here; rotary, alibi and none add nothing.
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
        self.position: SinusoidalPosition | LearnedPosition | None = None
        match position:
            case "sinusoidal":
                self.position = SinusoidalPosition(max_seq_len, d_model)
            case "learned":
                self.position = LearnedPosition(max_seq_len, d_model)
        self.scale, self.max_seq_len = math.sqrt(d_model) if scale else 1.0, max_seq_len
        self.dropout = Dropout(dropout)

    def forward(
        self,
        ids: Int[Tensor, "batch seq"],
        *,
        positions: Int[Tensor, "batch seq"] | None = None,
        start: int = 0,
    ) -> Float[Tensor, "batch seq d_model"]:
        """Embeds ``ids``.

        Args:
            ids: [batch, seq].
            positions: of each piece; None counts from ``start``.
            start: position of the first piece.

        Raises:
            ValueError: the sequence ends beyond ``max_seq_len``.
        """
        end = start + ids.shape[1]
        if end > self.max_seq_len:
            raise ValueError(f"a sequence of {end} pieces: must be at most max_seq_len = {self.max_seq_len}")
        x: Tensor = self.tokens(ids) * self.scale
        if self.position is not None:
            if positions is None:
                positions = torch.arange(start, end, device=ids.device)[None]
            x = x + self.position(positions)
        return self.dropout(x)
