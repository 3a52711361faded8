"""Greedy decoding written down step by step: input, distribution, choice, and what the cache moved."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from clearhead.brief import Brief
from clearhead.decode.decoding import CachedDecoding, RNNDecoding, start_decoding
from clearhead.decode.graphed.rows import GraphedRows
from clearhead.decode.rows import Begin, RNNRowsDecoding, RowsDecoding
from clearhead.decode.rules import Rule
from clearhead.models.rnn import RNNState, RNNTranslator
from clearhead.models.transformer import Transformer
from clearhead.nn.cache import KVCache


class Meter(AbstractContextManager["Meter"], Protocol):
    """Counts, while it is entered, the bytes of keys and values that are really moved."""

    read: int
    written: int


MakeMeter = Callable[[KVCache], Meter]


@dataclass(frozen=True)
class TraceStep(Brief):
    """One step of the decoder."""

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
    measured_read: int | None = None
    """``bytes_read`` as it was measured; None where it was not."""
    measured_written: int | None = None
    """``bytes_written`` likewise."""


@dataclass(frozen=True)
class Reader:
    """Reads the pieces of one text and says what comes next; ``cache`` is what it keeps of them."""

    read: Callable[[Sequence[int]], Tensor]
    """Takes the next pieces, returns the logits [vocab] of what follows."""
    cache: KVCache | RNNState | None


def translation_reader(model: Transformer | RNNTranslator, src_ids: Tensor, *, limit: int) -> Reader:
    """Reads translations of one sentence [1, src_seq], of up to ``limit`` pieces, so that its cache need not grow."""
    decoding = start_decoding(model, src_ids, None, capacity=limit)
    cache = decoding.cache if isinstance(decoding, CachedDecoding | RNNDecoding) else None
    return Reader(lambda pieces: decoding.advance(src_ids.new_tensor(pieces))[0], cache)


def text_reader(begin: Begin, first: int, *, limit: int) -> Reader:
    """Reads one text of a language model, of up to ``limit`` pieces in all, so that its cache need not grow.

    Args:
        begin: as for ``generate``.
        first: any piece; it is taken back.
        limit: within the model's context.
    """
    rows, cache = begin([[first]]), None
    if isinstance(rows, GraphedRows):  # what is read piece by piece is looked into, so it is computed plainly
        rows = rows.rows
    if isinstance(rows, RowsDecoding):
        rows.cache.reserve(limit)
        cache = rows.cache
    rows.back(1)
    device = rows.logits.device

    def read(pieces: Sequence[int]) -> Tensor:
        return rows.extend(torch.tensor([list(pieces)], device=device))[0, -1]

    return Reader(read, rows.state if isinstance(rows, RNNRowsDecoding) else cache)


@torch.inference_mode()
def trace_greedy(
    reader: Reader,
    begin: Sequence[int],
    *,
    limit: int,
    ends: Collection[int],
    rules: Sequence[Rule] = (),
    top: int = 5,
    meter: MakeMeter | None = None,
) -> list[TraceStep]:
    """Decodes one text greedily and records every step.

    Args:
        reader: that has read nothing yet; a translation's takes pieces one by one.
        begin: what the text begins with, read in the first step: the begin mark, or a prompt.
        limit: most pieces, end mark included.
        ends: the pieces that end the text.
        rules: change scores of next pieces in place, in this order; the best that they leave is chosen.
        top: how many of the most probable pieces to record.
        meter: makes a meter for the bytes of a step; used for a K-V cache only.
    """
    ids, new, steps = list(begin), list(begin), list[TraceStep]()
    while len(steps) < limit and (not steps or steps[-1].chosen not in ends):
        gauge = meter(reader.cache) if meter and isinstance(reader.cache, KVCache) else None
        with gauge or nullcontext():
            logits = reader.read(new)
        sentence = torch.zeros(1, dtype=torch.long, device=logits.device)
        probs = logits.softmax(dim=-1)
        best, pieces = probs.topk(min(top, len(probs)))
        scores, written = logits.log_softmax(dim=-1)[None, None], ids[len(begin) :]
        for rule in rules:
            rule(scores, torch.tensor(written, dtype=torch.long, device=scores.device)[None, None], sentence)
        chosen = int(scores.argmax())
        # asked after the step, so that the piece's own keys and values, which it attends to as well, count
        moved = (reader.cache.bytes_read(), reader.cache.bytes_written()) if reader.cache else (0, 0)
        steps.append(
            TraceStep(
                input_ids=list(ids),
                top=list(zip(pieces.tolist(), best.tolist(), strict=True)),
                chosen=chosen,
                bytes_read=moved[0],
                bytes_written=moved[1] * len(new),
                measured_read=gauge.read if gauge else None,
                measured_written=gauge.written if gauge else None,
            )
        )
        ids.append(chosen)
        new = [chosen]
    return steps
