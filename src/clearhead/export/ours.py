"""Our own models as a runtime, with which the others are compared: outputs of rows, and plain greedy texts."""

import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from clearhead.decode.decoding import start_decoding
from clearhead.decode.graphed.rows import start_texts
from clearhead.engine.choose import choose
from clearhead.engine.rows import NativeModel
from clearhead.export.runtime import Exportable, Outputs, Row, Runtime
from clearhead.models.bert import Bert, BertClassifier, BertPretraining
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer

R = TypeVar("R")
BATCH = 1024
"""Pieces, padding included, that are read at once: the logits of a large vocabulary take 100 kB each."""


def batches(rows: Sequence[Row]) -> Iterator[list[int]]:
    """Yields the numbers of rows of like length, ``BATCH`` pieces at once."""
    sizes = [max(len(row.ids), len(row.target or ())) for row in rows]
    batch: list[int] = []
    for number in sorted(range(len(rows)), key=sizes.__getitem__):
        if batch and (len(batch) + 1) * sizes[number] > BATCH:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def in_batches(rows: Sequence[Row], compute: Callable[[list[int]], Iterable[R]]) -> list[R]:
    """Returns a result for each row; ``compute`` makes those of some rows of like length, which it gets by number."""
    results: dict[int, R] = {}
    for batch in batches(rows):
        results |= zip(batch, compute(batch), strict=True)
    return [results[number] for number in range(len(rows))]


def padded(rows: Sequence[Sequence[int]], fill: int = 0) -> tuple[Tensor, Tensor]:
    """Returns rows as one tensor, padded on the right, and where it holds pieces."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], dtype=torch.long)
    return ids, torch.arange(longest) < torch.tensor([[len(row)] for row in rows])


def next_of(row: Row, end: int) -> list[int]:
    """Returns the pieces that come next in a row, position by position; a translation ends with ``end``."""
    return row.ids[1:] if row.target is None else [*row.target[1:], end]


class Ours(Runtime):
    """A model of ours in evaluation mode, without an engine.

    Args:
        model: on the CPU.
        ends: pieces that end a text; the first one is its end mark.
        never: pieces that are in no text.
        scale: standard deviation and mean of the numbers that a regression model predicts.
    """

    name = "torch"
    version = str(torch.__version__)

    def __init__(
        self, model: Exportable, *, ends: Sequence[int], never: Sequence[int], scale: tuple[float, float] = (1.0, 0.0)
    ) -> None:
        self.model, self.ends, self.never, self.scale = model, list(ends), list(never), scale
        self.gives: Outputs = "states" if isinstance(model, Bert) else "logits"

    def giving(self, outputs: Outputs) -> "Ours":
        """Returns the same model with other outputs."""
        changed = copy.copy(self)
        changed.gives = outputs
        return changed

    @torch.inference_mode()
    def outputs(self, rows: Sequence[Row]) -> list[Tensor]:
        """See ``Runtime``."""
        compute: Callable[[Sequence[Row]], Tensor] = self._states if self.gives == "states" else self._logits

        def own(batch: list[int]) -> list[Tensor]:
            part = [rows[number] for number in batch]
            return [self._own(row, values) for row, values in zip(part, compute(part), strict=True)]

        return in_batches(rows, own)

    def _own(self, row: Row, values: Tensor) -> Tensor:
        """Cuts the padding off the outputs of a row, or picks the log-probabilities of its pieces."""
        if isinstance(self.model, BertClassifier) and self.gives == "logits":
            return values[None]  # one for all of the row
        values = values[: len(row.ids if row.target is None else row.target)]
        if self.gives != "log_probs":
            return values
        pieces = torch.tensor(next_of(row, self.ends[0]))
        return values[: len(pieces)].log_softmax(-1).gather(1, pieces[:, None])[:, 0]

    def _logits(self, rows: Sequence[Row]) -> Tensor:
        model = self.model
        assert not isinstance(model, Bert)
        if isinstance(model, BertPretraining):
            states = self._states(rows)
            logits: Tensor = model.mlm_head(states.flatten(0, 1)).unflatten(0, states.shape[:2])
            return logits
        ids, mask = padded([row.ids for row in rows])
        match model:
            case Transformer():
                target, _ = padded([row.target or [] for row in rows])
                computed: Tensor = model(ids, target, src_mask=mask)
            case GPT():
                computed = model(ids, mask=mask)
            case BertClassifier():
                segments, _ = padded([row.segments or [0] * len(row.ids) for row in rows])
                computed = model(ids, mask=mask, segments=segments) * self.scale[0] + self.scale[1]
        return computed

    def _states(self, rows: Sequence[Row]) -> Tensor:
        ids, mask = padded([row.ids for row in rows])
        segments, _ = padded([row.segments or [0] * len(row.ids) for row in rows])
        assert not isinstance(self.model, Transformer | GPT)
        encoder = self.model if isinstance(self.model, Bert) else self.model.bert
        states: Tensor = encoder(ids, mask=mask, segments=segments)
        return states

    @torch.inference_mode()
    def heads(self, states: Tensor) -> Tensor:
        """Returns the logits that our heads make of the hidden states [positions, d_model] of one row."""
        match self.model:
            case BertPretraining(mlm_head=head):
                logits: Tensor = head(states)
            case BertClassifier(bert=bert, head=head):
                logits = head(bert.pooler(states[None])) * self.scale[0] + self.scale[1]
            case _:
                logits = states
        return logits

    @functools.cached_property
    def _writer(self) -> Transformer | GPT | NativeModel:
        """What writes, as our verbs take it: the model packed, or itself."""
        assert isinstance(self.model, Transformer | GPT)
        return choose(self.model).prepare() or self.model

    def greedy(self, rows: Sequence[Row], limits: Sequence[int]) -> list[list[int]] | None:
        """See ``Runtime``: no rule but that special pieces are not written."""
        if not isinstance(self.model, Transformer | GPT):
            return None
        return in_batches(rows, lambda batch: self._written([rows[at] for at in batch], [limits[at] for at in batch]))

    @torch.inference_mode()
    def _written(self, rows: Sequence[Row], limits: Sequence[int]) -> list[list[int]]:
        writer = self._writer
        if isinstance(self.model, Transformer):
            assert not isinstance(writer, GPT)
            ids, mask = padded([row.ids for row in rows])
            decoding = start_decoding(writer, ids, mask)
            first = torch.tensor([(row.target or [0])[0] for row in rows])
            logits, advance = decoding.advance(first), decoding.advance
        else:
            assert not isinstance(writer, Transformer)
            texts = start_texts(writer, [row.ids for row in rows])
            logits, advance = texts.logits, texts.advance
        return written_greedily(logits, advance, limits, ends=self.ends, never=self.never)


def written_greedily(
    logits: Tensor,
    advance: Callable[[Tensor], Tensor],
    limits: Sequence[int],
    *,
    ends: Sequence[int],
    never: Sequence[int],
) -> list[list[int]]:
    """Returns texts of the most probable pieces.

    Args:
        logits: [rows, vocab], of the first piece of each.
        advance: reads a piece of each, [rows], and returns the logits of the next.
        limits: most pieces of each, end mark included.
        ends: pieces that end a text.
        never: pieces that are in no text.
    """
    written: list[list[int]] = [[] for _ in limits]
    going = [limit > 0 for limit in limits]
    while any(going):
        best = logits.index_fill(1, torch.tensor(never, dtype=torch.long), float("-inf")).argmax(dim=1)
        for number, piece in enumerate(best.tolist()):
            going[number] = going[number] and piece not in ends
            if going[number]:
                written[number].append(piece)
                going[number] = len(written[number]) < limits[number]
        if any(going):
            logits = advance(best)
    return written
