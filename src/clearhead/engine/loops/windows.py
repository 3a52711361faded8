"""Texts of a native language model: each has a window of its own, which slides where it is full; no torch."""

from collections.abc import Sequence

import numpy as np

from clearhead.engine.rows import Ints, NativeModel
from clearhead.engine.weights.packing import Floats


def newer_half(window: list[int], context: int) -> list[int]:
    """Returns what a full window keeps, to be read anew."""
    return window[len(window) - context // 2 :]


class Texts:
    """Texts that grow, one a row, and what comes next in each; no row depends on another, and no row has padding.

    A row whose window is as long as the model's context drops the older half before it grows, and the rest is computed
    anew, since each piece gets another position.

    Args:
        model: a decoder-only model.
        prompts: one piece or more each; of a prompt longer than the context its last pieces are read.
        threads: threads that a product is shared among where that pays.
    """

    def __init__(self, model: NativeModel, prompts: Sequence[Sequence[int]], *, threads: int = 1) -> None:
        self.model, self.context, self.rows = model, model.max_len, model.rows(threads)
        self.windows = [list(prompt)[-self.context :] for prompt in prompts]
        self.rows.join_empty(len(prompts))
        self.logits: Floats = self._read(self.windows)
        """[rows, vocab], of the next piece."""

    @property
    def room(self) -> int:
        """How many pieces may be appended now and all be taken back; a full window loses its older half first."""
        longest = max(map(len, self.windows))
        return self.context - (longest if longest < self.context else self.context // 2)

    def extend(self, ids: Ints) -> Floats:
        """Appends pieces [rows, new], ``room`` of them at the most; returns logits [rows, new, vocab]."""
        self._slide()
        count, new = ids.shape
        flat = self.rows.extend(np.ascontiguousarray(ids).ravel(), np.full(count, new, dtype=np.int32), every=True)
        logits: Floats = flat.reshape(count, new, flat.shape[1])
        for window, pieces in zip(self.windows, ids.tolist(), strict=True):
            window.extend(pieces)
        self.logits = logits[:, -1]
        return logits

    def advance(self, ids: Ints) -> Floats:
        """Appends one piece to every row, and returns ``logits``."""
        self.extend(ids[:, None])
        return self.logits

    def back(self, count: int) -> None:
        """Takes the last pieces of every row back; ``logits`` are stale until the next ``extend`` or ``advance``."""
        self.windows = [window[: len(window) - count] for window in self.windows]
        self.rows.back(np.full(len(self.windows), count, dtype=np.int32))

    def reorder(self, rows: Ints) -> None:
        """Row i goes on from what row ``rows[i]`` held; ``logits`` are stale."""
        self.windows = [self.windows[row].copy() for row in rows.tolist()]
        self.rows.keep(rows)

    def keep(self, rows: Ints) -> None:
        """Only these rows stay; a row given twice is there twice."""
        self.reorder(rows)
        self.logits = self.logits[rows]

    def _slide(self) -> None:
        full = [len(window) == self.context for window in self.windows]
        if not any(full):
            return
        pairs = zip(self.windows, full, strict=True)
        self.windows = [newer_half(window, self.context) if over else window for window, over in pairs]
        self.rows.back(np.where(full, self.context, 0).astype(np.int32))
        self._read([window if over else [] for window, over in zip(self.windows, full, strict=True)])

    def _read(self, texts: Sequence[Sequence[int]]) -> Floats:
        ids = np.array([piece for text in texts for piece in text], dtype=np.int32)
        return self.rows.extend(ids, np.array([*map(len, texts)], dtype=np.int32))
