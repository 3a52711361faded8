"""Attention masks for padding, causal order and documents: bool, True = may attend; ALiBi makes them float."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

AttendMask = Bool[Tensor, "batch #heads #queries keys"] | Float[Tensor, "#batch #heads #queries keys"]
MemoryMask = Bool[Tensor, "sentences 1 1 memory"]


def padding_mask(mask: Bool[Tensor, "batch keys"]) -> Bool[Tensor, "batch 1 1 keys"]:
    """Lets every query attend to the keys that are not padding; ``mask`` is False at padding."""
    return mask[:, None, None, :]


def causal_mask(n_queries: int, n_keys: int, device: torch.device | None = None) -> Bool[Tensor, "queries keys"]:
    """Lets the last ``n_queries`` of ``n_keys`` positions attend to themselves and to the positions before them."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def causal_padding_mask(mask: Bool[Tensor, "batch seq"]) -> Bool[Tensor, "batch 1 seq seq"]:
    """Combines causal order and padding; padding may attend to itself, since a softmax needs at least one key."""
    size = mask.shape[1]
    itself = torch.eye(size, dtype=torch.bool, device=mask.device)
    return (causal_mask(size, size, mask.device) & padding_mask(mask)) | itself


def document_mask(documents: Int[Tensor, "batch seq"]) -> Bool[Tensor, "batch 1 seq seq"]:
    """Lets pieces of a packed window attend to their own document only; it does not restrict the order."""
    return (documents[:, :, None] == documents[:, None, :]).unsqueeze(1)


def additive_mask(mask: Bool[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns the float form of a mask, which is added to scores: 0 where attention is allowed, -inf elsewhere."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))


def with_bias(
    mask: Bool[Tensor, "..."] | None, bias: Float[Tensor, "heads queries keys"] | None
) -> Bool[Tensor, "..."] | Float[Tensor, "..."] | None:
    """Combines a mask and a bias of the scores (ALiBi) into a float mask, which is added to the scores."""
    if bias is None:
        return mask
    bias = bias.unsqueeze(0)  # 1 heads queries keys
    return bias if mask is None else bias.masked_fill(~mask, float("-inf"))


def positions_of(mask: Bool[Tensor, "batch seq"]) -> Int[Tensor, "batch seq"]:
    """Numbers the real pieces of each row from 0, whether padding is on the left or on the right."""
    return (mask.long().cumsum(1) - 1).clamp(min=0)
