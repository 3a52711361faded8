"""What a vector of a text is made of: which states count, its length, the longest text; no torch."""

from dataclasses import dataclass
from typing import Literal

from clearhead.ranges import MarkedLength


@dataclass(frozen=True)
class EmbeddingConfig:
    """How ``clearhead embed`` makes a vector of a text (Reimers and Gurevych 2019, arXiv:1908.10084)."""

    pooling: Literal["mean", "first", "max"] = "mean"
    """mean: of the states of all pieces, [CLS] and [SEP] included; first: the state of [CLS]; max: of each feature."""
    normalize: bool = False
    """Whether a vector is divided by its length."""
    max_seq_len: MarkedLength | None = None
    """Longest text that gets a vector, in pieces, including [CLS] and [SEP]; unset means ``model.max_seq_len``."""

    def longest(self, positions: int) -> tuple[str, int]:
        """Returns the recipe key that limits the length of a text for a vector, and the limit.

        Args:
            positions: ``model.max_seq_len``.
        """
        own = self.max_seq_len
        return ("model.max_seq_len", positions) if own is None or own >= positions else ("embedding.max_seq_len", own)
