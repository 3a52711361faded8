"""The native engine behind the seams of search and generation: a ``Decoding`` and a ``TextRows`` (see ``decode``)."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clearhead.engine.loops.windows import Texts
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
    """The ``TextRows`` of a native GPT, in tensors.

    Args:
        model: a decoder-only model.
        prompts: see ``Texts``.
    """

    def __init__(self, model: NativeModel, prompts: Sequence[Sequence[int]]) -> None:
        self.texts = Texts(model, prompts, threads=torch.get_num_threads())

    @property
    def logits(self) -> Float[Tensor, "rows vocab"]:
        """See ``TextRows``."""
        return torch.from_numpy(self.texts.logits)

    @property
    def room(self) -> int:
        """See ``TextRows``."""
        return self.texts.room

    def extend(self, ids: Int[Tensor, "rows new"]) -> Float[Tensor, "rows new vocab"]:
        """See ``TextRows``."""
        return torch.from_numpy(self.texts.extend(_ints(ids)))

    def advance(self, ids: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocab"]:
        """See ``TextRows``."""
        self.texts.advance(_ints(ids))
        return self.logits

    def back(self, count: int) -> None:
        """See ``TextRows``."""
        self.texts.back(count)

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """See ``TextRows``."""
        self.texts.reorder(_ints(rows))

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """See ``TextRows``."""
        self.texts.keep(_ints(rows))


def _ints(ids: Int[Tensor, "..."]) -> Ints:
    return ids.to(torch.int32).contiguous().numpy()
