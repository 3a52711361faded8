"""Makes one vector of a text's hidden states: which states count, and whether the vector gets length 1."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from clearhead.models.bert import first_of, mean_of
from clearhead.models.embedding import EmbeddingConfig


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
