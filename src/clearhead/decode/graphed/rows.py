"""Texts of a GPT whose next pieces are computed in one recorded step, where a step has the same shapes as the last."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from clearhead.decode.decoding import Rows
from clearhead.decode.rows import Kept, Logits, New, NewLogits, RNNRowsDecoding, RowsDecoding, TextRows
from clearhead.engine.decoding import NativeTextRows
from clearhead.engine.rows import NativeModel
from clearhead.models.gpt import GPT
from clearhead.models.rnn import RNNLanguageModel
from clearhead.nn.attention import _is_watched
from clearhead.nn.cache import FixedPlace, KVCache

ALIGNED = 8  # columns: kernels of half precision read masks in steps of so many
AHEAD = 256  # columns that a cache gets at least, so that most texts need one recording
PATIENCE = 4  # steps that a recording takes about as long as: rows that leave one after another are not worth it


class FixedStep:
    """The step of one piece a row, on the buffer of a cache, with shapes that do not depend on how much is in it.

    All rows attend to the same columns, those that hold nothing yet among them, and a mask computed on the device says
    which of them count. So the step of a GPU can be recorded once as a CUDA graph and played again: one call in place
    of some hundred kernels, each of which a processor takes longer to ask for than a GPU to compute.

    Args:
        model: in evaluation mode.
        cache: whose buffer is read and written; its length is left to the caller.
        lengths: how many columns each row attends to, the last ones.
    """

    def __init__(self, model: GPT, cache: KVCache, lengths: list[int]) -> None:
        self.model, self.cache, self.buffer = model, cache, cache.buffer
        device = cache.buffer.device
        room = room_of(model, cache)
        self.buffer[:, :, :, :, cache.length :].zero_()  # a weight of 0 does not undo what is not a number
        self.place = FixedPlace(torch.tensor([cache.length], device=device), room)
        self._first = cache.length - torch.tensor(lengths, device=device)[:, None]  # rows 1
        self._columns = torch.arange(room, device=device)
        self._ids = torch.zeros(len(lengths), 1, dtype=torch.long, device=device)
        self._logits: Tensor | None = None
        self._graph = self._recorded() if self.buffer.is_cuda else None

    def holds(self, cache: KVCache) -> bool:
        """Whether this is the step of ``cache`` as it is now, and there is room for a piece."""
        return cache.buffer is self.buffer and cache.length < self.place.room

    def __call__(self, ids: Rows) -> Float[Tensor, "rows vocab"]:
        """Appends a piece to every row and returns the logits of the next."""
        self._ids.copy_(ids[:, None])
        self.place.column.fill_(self.cache.length)
        if self._graph is None:
            self._compute()
        else:
            self._graph.replay()
        assert self._logits is not None
        return self._logits.clone()

    def _compute(self) -> None:
        column = self.place.column
        mask = (self._columns >= self._first) & (self._columns <= column)  # rows columns
        length, self.cache.fixed = self.cache.length, self.place
        try:
            states = self.model.hidden(self._ids, mask=mask, positions=column - self._first, cache=self.cache)
        finally:
            self.cache.length, self.cache.fixed = length, None
        self._logits = self.model.lm_head(states[:, -1])

    def _recorded(self) -> torch.cuda.CUDAGraph:
        """Records the step; what it writes before it is played is overwritten by the first piece."""
        graph, aside = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        torch.cuda.synchronize()
        with torch.cuda.stream(aside):
            self._compute()  # libraries set themselves up at their first call, which cannot be recorded
            aside.synchronize()
            # not ``torch.cuda.graph``, which first collects all garbage and gives the allocator's memory back
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                self._compute()
            finally:
                graph.capture_end()
        return graph


class GraphedRows:
    """The ``TextRows`` of a GPT on a GPU: ``RowsDecoding``, whose single pieces are taken by a recorded step.

    The step is recorded anew when rows leave, or when the cache has grown; what it does not cover, such as a window
    that slides, the plain way does.

    Args:
        rows: the texts so far.
        patience: plain steps before a step is recorded, and recorded anew.
    """

    def __init__(self, rows: RowsDecoding, *, patience: int = PATIENCE) -> None:
        self.rows, self.patience = rows, patience
        self._step: FixedStep | None = None
        self._waited = 0

    @property
    def logits(self) -> Logits:
        """See ``TextRows``."""
        return self.rows.logits

    @property
    def room(self) -> int:
        """See ``TextRows``."""
        return self.rows.room

    def extend(self, ids: New) -> NewLogits:
        """See ``TextRows``."""
        if ids.shape[1] == 1:
            return self.advance(ids[:, 0])[:, None]
        self._forget()
        return self.rows.extend(ids)

    def advance(self, ids: Rows) -> Logits:
        """See ``TextRows``."""
        step = self._current()
        if step is None:
            return self.rows.advance(ids)
        self.rows.append(ids[:, None], step(ids))
        return self.rows.logits

    def back(self, count: int) -> None:
        """See ``TextRows``."""
        self.rows.back(count)

    def reorder(self, rows: Rows) -> None:
        """See ``TextRows``."""
        self._forget()
        self.rows.reorder(rows)

    def keep(self, rows: Kept) -> None:
        """See ``TextRows``."""
        self._forget()
        self.rows.keep(rows)

    def _forget(self) -> None:
        """Drops the step, whose shapes or memory are others from now on."""
        self._step, self._waited = None, 0

    def _current(self) -> FixedStep | None:
        """Returns the step for the texts as they are; None where they go on the plain way."""
        model, cache = self.rows.model, self.rows.cache
        if self._step is not None and self._step.holds(cache):
            return self._step
        self._step, self._waited = None, self._waited + 1
        if self.rows.lengths and self._waited > self.patience:
            cache.reserve(max(ALIGNED, min(AHEAD, model.config.max_seq_len - cache.length)))
            fits = cache.length < room_of(model, cache)
            self._step = FixedStep(model, cache, self.rows.lengths) if fits else None
        return self._step


def room_of(model: GPT, cache: KVCache) -> int:
    """Returns how many columns of ``cache`` the step of fixed shapes attends to: a window is never longer."""
    return min(cache.buffer.shape[4], model.config.max_seq_len) // ALIGNED * ALIGNED


def covers(model: GPT) -> bool:
    """Whether a model's step can be recorded: if no norm, bias or rotation asks for lengths, and no hook watches."""
    return not (model.needs_mask or model.score_bias or any(map(_is_watched, model.modules())))


def start_texts(model: GPT | RNNLanguageModel | NativeModel, prompts: Sequence[Sequence[int]]) -> TextRows:
    """Starts the texts of ``prompts``, by the fastest step that the model and its device allow."""
    match model:
        case NativeModel():
            return NativeTextRows(model, prompts)
        case GPT():
            rows = RowsDecoding(model, prompts)
            return GraphedRows(rows) if rows.ids.is_cuda and covers(model) else rows
        case RNNLanguageModel():
            return RNNRowsDecoding(model, prompts)
