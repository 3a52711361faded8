"""Makes one vector of a text's hidden states: which states count, and whether the vector gets length 1."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from clearhead.models.bert import first_of, mean_of
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


def pooled(
    states: Float[Tensor, "batch seq d_model"], real: Bool[Tensor, "batch seq"], config: EmbeddingConfig
) -> Float[Tensor, "batch d_model"]:
    """Returns the vector of each row; ``real`` is False at padding."""
    match config.pooling:
        case "mean":
            vectors = mean_of(states, real)
        case "first":
            vectors = first_of(states, real)
        case "max":
            vectors = states.masked_fill(~real[..., None], -torch.inf).amax(dim=1)
    return functional.normalize(vectors, dim=1) if config.normalize else vectors
