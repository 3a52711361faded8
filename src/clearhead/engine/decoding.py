"""The native engine behind the seams of search and generation: a ``Decoding`` and a ``TextRows`` (see ``decode``)."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clearhead.engine.rows import Ints, NativeModel


class NativeDecoding:
    """Sentences being translated, ``beam`` rows each; beams share their source and what they have in common.

    Args:
        model: an encoder-decoder.
        src_ids: [batch, src_seq].
        src_mask: [batch, src_seq], True at real pieces; None: all are.
        beam: rows per sentence.
    """

    def __init__(
        self,
        model: NativeModel,
        src_ids: Int[Tensor, "batch src"],
        src_mask: Bool[Tensor, "batch src"] | None,
        *,
        beam: int = 1,
    ) -> None:
        self.rows, self.beam = model.rows(torch.get_num_threads()), beam
        masks = [None] * len(src_ids) if src_mask is None else src_mask
        sources = [ids if mask is None else ids[mask] for ids, mask in zip(src_ids, masks, strict=True)]
        self.rows.join_sources([source.tolist() for source in sources], copies=beam)

    def advance(self, ids: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocab"]:
        """See ``Decoding``."""
        return torch.from_numpy(self.rows.extend(_ints(ids), np.ones(len(ids), dtype=np.int32)))

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """See ``Decoding``."""
        self.rows.keep(_ints(rows))

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """See ``Decoding``."""
        self.rows.keep(_ints((sentences[:, None] * self.beam + torch.arange(self.beam)).flatten()))


class NativeTextRows:
    """The ``TextRows`` of a native GPT: every row has a window of its own, and no row has padding.

    A row whose window is as long as the model's context drops the older half before it grows, and the rest is computed
    anew, as in ``RowsDecoding``.

    Args:
        model: a decoder-only model.
        prompts: one piece or more each; of a prompt longer than the context its last pieces are read.
    """

    def __init__(self, model: NativeModel, prompts: Sequence[Sequence[int]]) -> None:
        self.context, self.rows = model.max_len, model.rows(torch.get_num_threads())
        self.texts = [list(prompt)[-self.context :] for prompt in prompts]
        self.rows.join_empty(len(prompts))
        self.logits: Float[Tensor, "rows vocab"] = torch.from_numpy(self._read(self.texts))

    @property
    def room(self) -> int:
        """See ``TextRows``; a full window loses its older half before it grows."""
        longest = max(map(len, self.texts))
        return self.context - (longest if longest < self.context else self.context // 2)

    def extend(self, ids: Int[Tensor, "rows new"]) -> Float[Tensor, "rows new vocab"]:
        """See ``TextRows``."""
        self._slide()
        new = ids.tolist()
        logits = torch.from_numpy(self._read(new, every=True)).view(*ids.shape, -1)
        for text, pieces in zip(self.texts, new, strict=True):
            text.extend(pieces)
        self.logits = logits[:, -1]
        return logits

    def advance(self, ids: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocab"]:
        """See ``TextRows``."""
        self.extend(ids[:, None])
        return self.logits

    def back(self, count: int) -> None:
        """See ``TextRows``."""
        self.texts = [text[: len(text) - count] for text in self.texts]
        self.rows.back(np.full(len(self.texts), count, dtype=np.int32))

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """See ``TextRows``."""
        self.texts = [self.texts[row].copy() for row in rows.tolist()]
        self.rows.keep(_ints(rows))

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """See ``TextRows``."""
        self.reorder(rows)
        self.logits = self.logits[rows]

    def _slide(self) -> None:
        full = [len(text) == self.context for text in self.texts]
        if not any(full):
            return
        kept = self.context // 2
        self.texts = [text[len(text) - kept :] if over else text for text, over in zip(self.texts, full, strict=True)]
        self.rows.back(np.where(full, self.context, 0).astype(np.int32))
        self._read([text if over else [] for text, over in zip(self.texts, full, strict=True)])

    def _read(
        self, texts: Sequence[Sequence[int]], *, every: bool = False
    ) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        ids = np.array([piece for text in texts for piece in text], dtype=np.int32)
        return self.rows.extend(ids, np.array([*map(len, texts)], dtype=np.int32), every=every)


def _ints(ids: Int[Tensor, "..."]) -> Ints:
    return ids.to(torch.int32).contiguous().numpy()
