"""Runs of pieces that speak for a label by themselves: a linear model on hashed n-grams, beside an encoder."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clearhead.nn.dropout import Dropout

MODULUS, FACTOR, OF_SEGMENT = 2**31 - 1, 65_599, 1_000_003
"""Of the hash, by which a segment is told from another too: products stay below 2^63."""


class NgramLogits(nn.Module):
    """Adds up what each run of 1 to ``longest`` pieces says of each label, divided by the root of their number.

    A run's row of the table is a hash of its pieces and of the segment that it begins in, so that two may share one
    (Joulin et al. 2017, arXiv:1607.01759, and fastText's tables). The table starts at zero: without training it says
    nothing.

    Args:
        n_labels: classes, or 1 for a number.
        longest: pieces of the longest run.
        rows: of the table.
        dropout: share of the runs that a step of training leaves out.
    """

    def __init__(self, n_labels: int, *, longest: int, rows: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.longest, self.rows = longest, rows
        self.dropout = Dropout(dropout)
        self.table = nn.Embedding(rows, n_labels)
        nn.init.zeros_(self.table.weight)

    def forward(
        self,
        ids: Int[Tensor, "batch seq"],
        *,
        mask: Bool[Tensor, "batch seq"] | None = None,
        segments: Int[Tensor, "batch seq"] | None = None,
    ) -> Float[Tensor, "batch n_labels"]:
        """Returns the logits of each text by its runs alone.

        Args:
            ids: with the pieces at the ends, [CLS] and [SEP], which tell how a text begins and ends.
            mask: False at padding, on either side; None: no padding.
            segments: the segment of each piece; None: all are of segment 0.
        """
        real = begun = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
        key = torch.zeros_like(ids) if segments is None else segments * OF_SEGMENT
        found, whole = [], []
        for more in range(min(self.longest, ids.shape[1])):
            kept = ids.shape[1] - more  # runs of ``more`` + 1 pieces
            key = (key[:, :kept] * FACTOR + ids[:, more:] + 1) % MODULUS
            begun = begun[:, :kept] & real[:, more:]
            found.append(key % self.rows)
            whole.append(begun)
        counted = torch.cat(whole, dim=1).float()  # batch runs
        says: Tensor = self.table(torch.cat(found, dim=1))  # batch runs n_labels
        weights = self.dropout(counted) / counted.sum(dim=1, keepdim=True).clamp(min=1).sqrt()
        return (says * weights[..., None]).sum(dim=1)
