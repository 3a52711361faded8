"""The step under a language model's generation: texts of any lengths, a row each, by cache, by state or by counts."""

import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clearhead.decode.decoding import Rows, rows_of
from clearhead.models.gpt import GPT
from clearhead.models.ngram import Ngram
from clearhead.models.rnn import RNNLanguageModel

ROOM = 64  # positions that the cache has at first beyond the prompts
TRAIL = 32  # states that a recurrent model can go back to

Logits = Float[Tensor, "rows vocab"]
Kept = Int[Tensor, " kept"]
New = Int[Tensor, "rows new"]
NewLogits = Float[Tensor, "rows new vocab"]


@runtime_checkable
class TextRows(Protocol):
    """Texts that grow piece by piece, one a row, and what comes next in each; no row depends on another."""

    @property
    def logits(self) -> Logits:
        """Logits of the next piece."""

    @property
    def room(self) -> int:
        """How many pieces may be appended now and all be taken back."""

    def extend(self, ids: New) -> NewLogits:
        """Appends pieces to every row, ``room`` of them at the most; returns the logits of what follows each."""

    def advance(self, ids: Rows) -> Logits:
        """Appends one piece to every row and returns ``logits``."""

    def back(self, count: int) -> None:
        """Takes the last pieces of every row back; ``logits`` are stale until the next ``extend`` or ``advance``."""

    def reorder(self, rows: Rows) -> None:
        """Row i goes on from what row ``rows[i]`` held, which is as long; ``back`` may not go behind this point."""

    def keep(self, rows: Kept) -> None:
        """Only these rows stay, a row given twice is there twice; ``back`` may not go behind this point."""


Begin = Callable[[Sequence[Sequence[int]]], TextRows]
"""Starts the texts of prompts of one piece or more each, by one of the classes below."""


class RowsDecoding:
    """The ``TextRows`` of a GPT: all in one K-V cache, each on its own window.

    All rows end in the same column. The last ``lengths[row]`` columns are a row's window, the pieces that it attends
    to; columns left of the window are padding. A row whose window is as long as the model's context drops the older
    half before it grows; the rest is computed anew, since each piece gets another position.

    Args:
        model: in evaluation mode.
        prompts: one piece or more each; of a prompt longer than the context its last pieces are read.
    """

    def __init__(self, model: GPT, prompts: Sequence[Sequence[int]]) -> None:
        self.model, self.context = model, model.config.max_seq_len
        windows = [list(prompt)[-self.context :] for prompt in prompts]
        self.lengths = [len(window) for window in windows]
        longest = max(self.lengths)
        padded = [[0] * (longest - len(window)) + window for window in windows]
        self.ids = torch.tensor(padded, device=model.embedding.tokens.weight.device)
        self.cache = model.new_cache(len(prompts), longest + ROOM)
        states = model.hidden(self.ids, mask=self._mask(), cache=self.cache)
        self.logits: Logits = model.lm_head(states[:, -1])

    @property
    def room(self) -> int:
        """See ``TextRows``; a full window loses its older half before it grows."""
        longest = max(self.lengths)
        return self.context - (longest if longest < self.context else self.context // 2)

    def extend(self, ids: New) -> NewLogits:
        """See ``TextRows``."""
        full = [row for row, length in enumerate(self.lengths) if length == self.context]
        if full:
            self._slide(full)
        self.ids = torch.cat([self.ids, ids], dim=1)
        self.lengths = [length + ids.shape[1] for length in self.lengths]
        if max(self.lengths) > self.model.cache_limit:  # all of the text changes with each piece
            states = self._anew()[:, -ids.shape[1] :]
        else:
            states = self.model.hidden(ids, mask=self._mask(), cache=self.cache)
        logits: Tensor = self.model.lm_head(states)
        self.logits = logits[:, -1]
        return logits

    def advance(self, ids: Rows) -> Logits:
        """See ``TextRows``."""
        self.extend(ids[:, None])
        return self.logits

    def append(self, ids: New, logits: Logits) -> None:
        """Takes one piece a row that is in the cache already, behind what it holds, and the logits of the next."""
        self.ids = torch.cat([self.ids, ids], dim=1)
        self.lengths = [length + 1 for length in self.lengths]
        self.cache.advance(1)
        self.logits = logits

    def back(self, count: int) -> None:
        """See ``TextRows``."""
        beyond = max(self.lengths) > self.model.cache_limit
        self.ids = self.ids[:, : self.ids.shape[1] - count]
        self.lengths = [length - count for length in self.lengths]
        if beyond:
            self._anew()
        else:
            self.cache.length -= count

    def reorder(self, rows: Rows) -> None:
        """See ``TextRows``."""
        self.ids = self.ids[rows]
        self.cache.reorder(rows)

    def keep(self, rows: Kept) -> None:
        """See ``TextRows``."""
        self.ids, self.logits = self.ids[rows], self.logits[rows]
        self.lengths = [self.lengths[row] for row in rows.tolist()]
        self.cache.keep(rows, rows)
        self._trim()

    def _anew(self) -> Float[Tensor, "rows columns d_model"]:
        """Fills a new cache with the whole text; returns the states."""
        self.cache = self.model.new_cache(*self.ids.shape)
        return self.model.hidden(self.ids, mask=self._mask(), cache=self.cache)

    def _slide(self, full: list[int]) -> None:
        kept, columns = self.context // 2, self.ids.shape[1]
        if kept:
            fresh = self.model.new_cache(len(full), kept)
            self.model.hidden(self.ids[full, columns - kept :], cache=fresh)
            self.cache.buffer[:, :, full, :, columns - kept : columns] = fresh.buffer[:, :, :, :, :kept]
        self.lengths = [kept if row in full else length for row, length in enumerate(self.lengths)]
        self._trim()

    def _trim(self) -> None:
        """Drops the columns that are padding in every row."""
        surplus = self.ids.shape[1] - max(self.lengths, default=0)
        self.ids, self.cache.buffer = self.ids[:, surplus:], self.cache.buffer[:, :, :, :, surplus:]
        self.cache.length -= surplus

    def _mask(self) -> Bool[Tensor, "rows columns"] | None:
        """True at real pieces; None where all are."""
        columns = self.ids.shape[1]
        if min(self.lengths) == columns:
            return None
        places = torch.arange(columns, device=self.ids.device)
        return places >= columns - torch.tensor(self.lengths, device=self.ids.device)[:, None]


class RNNRowsDecoding:
    """The ``TextRows`` of a recurrent model: a state a row, which never grows, so that a text may be of any length.

    Args:
        model: in evaluation mode.
        prompts: one piece or more each.
    """

    def __init__(self, model: RNNLanguageModel, prompts: Sequence[Sequence[int]]) -> None:
        self.model, self.state = model, model.new_cache(len(prompts))
        self._trail: deque[Tensor] = deque(maxlen=TRAIL)  # the states before each of the last pieces
        device, longest = self.state.states.device, max(map(len, prompts))
        padded = torch.tensor([[0] * (longest - len(prompt)) + [*prompt] for prompt in prompts], device=device)
        before = longest - torch.tensor([len(prompt) for prompt in prompts], device=device)  # columns of padding
        for at in range(0, longest - 1, model.config.max_seq_len):
            part = padded[:, : longest - 1][:, at : at + model.config.max_seq_len]
            real = torch.arange(at, at + part.shape[1], device=device) >= before[:, None]
            model.hidden(part, mask=real, cache=self.state)
        self.logits: Logits = self.extend(padded[:, -1:])[:, -1]

    @property
    def room(self) -> int:
        """See ``TextRows``."""
        return TRAIL

    def extend(self, ids: New) -> NewLogits:
        """See ``TextRows``."""
        outputs = []
        for pieces in ids.split(1, dim=1):
            self._trail.append(self.state.states)
            outputs.append(self.model.hidden(pieces, cache=self.state))
        logits: Tensor = self.model.lm_head(torch.cat(outputs, dim=1))
        self.logits = logits[:, -1]
        return logits

    def advance(self, ids: Rows) -> Logits:
        """See ``TextRows``."""
        self.extend(ids[:, None])
        return self.logits

    def back(self, count: int) -> None:
        """See ``TextRows``."""
        for _ in range(count):
            self.state.states = self._trail.pop()

    def reorder(self, rows: Rows) -> None:
        """See ``TextRows``."""
        self.state.reorder(rows)
        self._trail.clear()

    def keep(self, rows: Kept) -> None:
        """See ``TextRows``."""
        self.reorder(rows)
        self.logits = self.logits[rows]


class NgramRowsDecoding:
    """The ``TextRows`` of an n-gram model: logits are log-probabilities after a row's last pieces.

    A model that counted each document on its own has seen nothing behind an end mark, so a text behind one begins
    without a context.

    Args:
        model: what was counted.
        prompts: one piece or more each.
    """

    def __init__(self, model: Ngram, prompts: Sequence[Sequence[int]]) -> None:
        self.model, self.texts = model, [list(prompt) for prompt in prompts]
        self.logits: Logits = self._next()

    @property
    def room(self) -> int:
        """See ``TextRows``."""
        return sys.maxsize

    def extend(self, ids: New) -> NewLogits:
        """See ``TextRows``."""
        return torch.stack([self.advance(pieces) for pieces in ids.unbind(dim=1)], dim=1)

    def advance(self, ids: Rows) -> Logits:
        """See ``TextRows``."""
        for text, piece in zip(self.texts, ids.tolist(), strict=True):
            text.append(piece)
        self.logits = self._next()
        return self.logits

    def back(self, count: int) -> None:
        """See ``TextRows``."""
        self.texts = [text[: len(text) - count] for text in self.texts]

    def reorder(self, rows: Rows) -> None:
        """See ``TextRows``."""
        self.texts = [self.texts[row].copy() for row in rows.tolist()]

    def keep(self, rows: Kept) -> None:
        """See ``TextRows``."""
        self.reorder(rows)
        self.logits = self.logits[rows]

    def _next(self) -> Logits:
        probs = [torch.from_numpy(self.model.next_probs(text)) for text in self.texts]
        return torch.stack(probs).log().float()


class PromptedDecoding:
    """A ``Decoding`` of a language model: what follows each prompt, ``beam`` ways a time.

    The pieces of the first ``advance``, with which a search starts, are not read: the prompts stand for them.
    """

    def __init__(self, begin: Begin, prompts: Sequence[Sequence[int]], *, beam: int = 1) -> None:
        self.begin, self.prompts, self.beam = begin, prompts, beam
        self.rows: TextRows | None = None

    def advance(self, ids: Rows) -> Logits:
        """See ``Decoding``."""
        if self.rows is None:
            self.rows = self.begin(self.prompts)
            self.rows.keep(torch.arange(len(self.prompts), device=ids.device).repeat_interleave(self.beam))
            return self.rows.logits
        return self.rows.advance(ids)

    def reorder(self, rows: Rows) -> None:
        """See ``Decoding``."""
        assert self.rows is not None
        self.rows.reorder(rows)

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """See ``Decoding``."""
        assert self.rows is not None
        self.rows.keep(rows_of(sentences, self.beam))
