"""The step under a language model's generation: texts of any lengths in one K-V cache, each on its own window."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clearhead.decode.decoding import Rows, rows_of
from clearhead.models.gpt import GPT

ROOM = 64  # positions that the cache has at first beyond the prompts


class RowsDecoding:
    """Texts that grow piece by piece, one a row, and what comes next in each.

    Rows end in the same column: the last ``lengths[row]`` columns are the pieces that a row looks back on, its window,
    and what is left of them is padding. A row whose window is as long as the model's context first drops the older
    half of it; the rest is computed anew, for each piece gets another position. No row depends on another.

    Args:
        model: in evaluation mode.
        prompts: one piece or more each; of one above the context the end counts.
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
        self.logits: Float[Tensor, "rows vocab"] = model.lm_head(states[:, -1])
        """Of the next piece."""

    @property
    def room(self) -> int:
        """How many pieces ``extend`` takes."""
        longest = max(self.lengths)
        return self.context - (longest if longest < self.context else self.context // 2)

    def extend(self, ids: Int[Tensor, "rows new"]) -> Float[Tensor, "rows new vocab"]:
        """Appends pieces to every row, ``room`` of them at the most; returns the logits of what follows each."""
        full = [row for row, length in enumerate(self.lengths) if length == self.context]
        if full:
            self._slide(full)
        self.ids = torch.cat([self.ids, ids], dim=1)
        self.lengths = [length + ids.shape[1] for length in self.lengths]
        logits: Tensor = self.model.lm_head(self.model.hidden(ids, mask=self._mask(), cache=self.cache))
        self.logits = logits[:, -1]
        return logits

    def advance(self, ids: Rows) -> Float[Tensor, "rows vocab"]:
        """Appends one piece to every row and returns ``logits``."""
        self.extend(ids[:, None])
        return self.logits

    def back(self, count: int) -> None:
        """Takes the last pieces of every row back; until the next call of ``extend``, ``logits`` are none of theirs."""
        self.ids = self.ids[:, : self.ids.shape[1] - count]
        self.lengths = [length - count for length in self.lengths]
        self.cache.length -= count

    def reorder(self, rows: Rows) -> None:
        """Row i goes on from what row ``rows[i]`` held, which is as long."""
        self.ids = self.ids[rows]
        self.cache.reorder(rows)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Only these rows stay; one that is named twice is there twice."""
        self.ids, self.logits = self.ids[rows], self.logits[rows]
        self.lengths = [self.lengths[row] for row in rows.tolist()]
        self.cache.keep(rows, rows)
        self._trim()

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


class PromptedDecoding:
    """A ``Decoding`` of a language model: what follows each prompt, ``beam`` ways a time.

    The pieces of the first ``advance``, with which a search starts, are not read: the prompts stand for them.
    """

    def __init__(self, model: GPT, prompts: Sequence[Sequence[int]], *, beam: int = 1) -> None:
        self.model, self.prompts, self.beam = model, prompts, beam
        self.rows: RowsDecoding | None = None

    def advance(self, ids: Rows) -> Float[Tensor, "rows vocab"]:
        """See ``Decoding``."""
        if self.rows is None:
            self.rows = RowsDecoding(self.model, self.prompts)
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
