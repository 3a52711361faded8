"""Greedy decoding written down step by step: input, distribution, choice, and what the cache moved."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from clearhead.decode.decoding import CachedDecoding, RNNDecoding, start_decoding
from clearhead.models.rnn import RNNTranslator
from clearhead.models.transformer import Transformer


@dataclass(frozen=True)
class TraceStep:
    """One decoder step."""

    input_ids: list[int]
    """Pieces so far, the begin mark first."""
    top: list[tuple[int, float]]
    """The most probable next pieces and their probabilities, best first."""
    chosen: int
    """The piece taken: the best one that may be taken."""
    bytes_read: int
    """Keys and values that the step read from the cache, self- and cross-attention, or states and source of a recurrent
    model; 0 without a cache."""
    bytes_written: int
    """Keys and values that it added, or states that it replaced."""


@torch.inference_mode()
def trace_greedy(
    model: Transformer | RNNTranslator,
    src_ids: Int[Tensor, "one src"],
    *,
    limit: int,
    bos_id: int,
    eos_id: int,
    forbidden: list[int],
    top: int = 5,
) -> list[TraceStep]:
    """Decodes one sentence greedily and records every step.

    Args:
        model: in evaluation mode.
        src_ids: [1, src_seq].
        limit: most pieces, end mark included.
        bos_id: what the decoder starts with.
        eos_id: what ends the sentence.
        forbidden: pieces that are never chosen.
        top: how many of the most probable pieces to record.
    """
    decoding = start_decoding(model, src_ids, None)
    cache = decoding.cache if isinstance(decoding, CachedDecoding | RNNDecoding) else None
    ids = [bos_id]
    steps: list[TraceStep] = []
    while len(steps) < limit and (not steps or steps[-1].chosen != eos_id):
        probs = decoding.advance(src_ids.new_tensor(ids[-1:])).softmax(dim=-1)[0]
        best, pieces = probs.topk(min(top, len(probs)))
        allowed = probs.clone()
        allowed[forbidden] = -1.0
        chosen = int(allowed.argmax())
        # read after the step, so that the piece's own keys and values, which it attends to as well, count
        read, written = (cache.bytes_read(), cache.bytes_written()) if cache else (0, 0)
        steps.append(
            TraceStep(list(ids), list(zip(pieces.tolist(), best.tolist(), strict=True)), chosen, read, written)
        )
        ids.append(chosen)
    return steps
