"""Rules on next-piece scores: pure, in place, each a few lines."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Rule = Callable[[Tensor, Tensor, Tensor], None]
"""(scores [sentences, beam, vocab], pieces so far [sentences, beam, length], which sentence of the batch each is
[sentences]) -> None, in place."""


def forbid(ids: Sequence[int]) -> Rule:
    """These pieces never come."""
    index = torch.tensor(list(ids), dtype=torch.long)

    def rule(scores: Tensor, ids: Tensor, sentences: Tensor) -> None:
        scores.index_fill_(2, index.to(scores.device), float("-inf"))

    return rule


def force_prefix(prefixes: Sequence[Sequence[int]]) -> Rule:
    """Sentence i begins with the pieces ``prefixes[i]``."""

    def rule(scores: Tensor, ids: Tensor, sentences: Tensor) -> None:
        length = ids.shape[2]
        for row, sentence in enumerate(sentences.tolist()):
            if length < len(prefixes[sentence]):
                piece = prefixes[sentence][length]
                kept = scores[row, :, piece].clone()
                scores[row] = float("-inf")
                scores[row, :, piece] = kept

    return rule


def at_least(count: int, eos_id: int) -> Rule:
    """The end mark does not come before ``count`` pieces."""

    def rule(scores: Tensor, ids: Tensor, sentences: Tensor) -> None:
        if ids.shape[2] < count:
            scores[:, :, eos_id] = float("-inf")

    return rule
