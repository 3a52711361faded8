"""Attention masks: bool, True = may attend; padding, causal order and score biases put together."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

AttendMask = Bool[Tensor, "batch #heads #queries keys"] | Float[Tensor, "#batch #heads #queries keys"]
MemoryMask = Bool[Tensor, "sentences 1 1 memory"]


def padding_mask(mask: Bool[Tensor, "batch keys"]) -> Bool[Tensor, "batch 1 1 keys"]:
    """Every query may attend to every real key."""
    return mask[:, None, None, :]


def causal_mask(n_queries: int, n_keys: int, device: torch.device | None = None) -> Bool[Tensor, "queries keys"]:
    """The last ``n_queries`` of ``n_keys`` positions attend to themselves and to what is before them."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def causal_padding_mask(mask: Bool[Tensor, "batch seq"]) -> Bool[Tensor, "batch 1 seq seq"]:
    """Causal order among real pieces; every position may attend to itself, so that no row is empty."""
    size = mask.shape[1]
    itself = torch.eye(size, dtype=torch.bool, device=mask.device)
    return (causal_mask(size, size, mask.device) & padding_mask(mask)) | itself


def document_mask(documents: Int[Tensor, "batch seq"]) -> Bool[Tensor, "batch 1 seq seq"]:
    """Pieces attend within their own document only: the blocks of a packed window; order comes besides."""
    return (documents[:, :, None] == documents[:, None, :]).unsqueeze(1)


def additive_mask(mask: Bool[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The float form of a mask, to be added to scores: 0 where attention is allowed, -inf elsewhere."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))


def with_bias(
    mask: Bool[Tensor, "..."] | None, bias: Float[Tensor, "heads queries keys"] | None
) -> Bool[Tensor, "..."] | Float[Tensor, "..."] | None:
    """Puts a score bias (ALiBi) into a mask: the float form, to be added to the scores."""
    if bias is None:
        return mask
    bias = bias.unsqueeze(0)  # 1 heads queries keys
    return bias if mask is None else bias.masked_fill(~mask, float("-inf"))


def positions_of(mask: Bool[Tensor, "batch seq"]) -> Int[Tensor, "batch seq"]:
    """Numbers the real pieces of each row from 0, on whichever side the padding is."""
    return (mask.long().cumsum(1) - 1).clamp(min=0)
