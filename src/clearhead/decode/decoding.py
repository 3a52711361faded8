"""The step under a search: next-piece logits for rows of hypotheses, from a K-V cache, a state, or computed anew."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from clearhead.engine.decoding import NativeDecoding
from clearhead.engine.rows import NativeModel
from clearhead.models.rnn import RNNTranslator
from clearhead.models.transformer import Transformer
from clearhead.nn.cache import KVCache
from clearhead.nn.mask import padding_mask

Rows = Int[Tensor, " rows"]


@runtime_checkable
class Decoding(Protocol):
    """A batch of sentences being decoded, ``beam`` rows each, sentence by sentence."""

    def advance(self, ids: Rows) -> Float[Tensor, "rows vocab"]:
        """Appends one piece to every row and returns the logits of the next."""

    def reorder(self, rows: Rows) -> None:
        """Row i goes on from what row ``rows[i]`` held (within one sentence)."""

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """Only these sentences stay."""


class CachedDecoding:
    """Computes one position a step from the K-V cache.

    Args:
        model: in evaluation mode.
        src_ids: [batch, src_seq].
        src_mask: [batch, src_seq], True at real pieces; None: all are.
        beam: rows per sentence.
        capacity: positions to allocate at first.
    """

    def __init__(
        self,
        model: Transformer,
        src_ids: Int[Tensor, "batch src"],
        src_mask: Bool[Tensor, "batch src"] | None,
        *,
        beam: int = 1,
        capacity: int = 32,
    ) -> None:
        memory = model.encoder(src_ids, src_mask)
        config = model.config
        self.model, self.beam = model, beam
        self.memory_mask = None if src_mask is None else padding_mask(src_mask)
        self.cache = KVCache(
            n_layers=config.n_decoder_layers,
            rows=len(src_ids) * beam,
            kv_heads=config.n_kv_heads or config.n_heads,
            head_dim=config.d_model // config.n_heads,
            capacity=capacity,
            like=memory,
        )
        self.cache.cross = model.decoder.keys_values(memory)

    def advance(self, ids: Rows) -> Float[Tensor, "rows vocab"]:
        """See ``Decoding``."""
        hidden = self.model.decoder(ids[:, None], self.cache.cross, memory_mask=self.memory_mask, cache=self.cache)
        logits: Tensor = self.model.lm_head(hidden[:, 0])
        return logits

    def reorder(self, rows: Rows) -> None:
        """See ``Decoding``."""
        self.cache.reorder(rows)

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """See ``Decoding``."""
        self.cache.keep(sentences, rows_of(sentences, self.beam))
        if self.memory_mask is not None:
            self.memory_mask = self.memory_mask[sentences]


class RecomputedDecoding:
    """Computes every position anew at each step: slow, but right for any norm, and what the cache is tested against."""

    def __init__(
        self,
        model: Transformer,
        src_ids: Int[Tensor, "batch src"],
        src_mask: Bool[Tensor, "batch src"] | None,
        *,
        beam: int = 1,
    ) -> None:
        self.model, self.beam = model, beam
        self.memory_mask = None if src_mask is None else padding_mask(src_mask)
        self.cross = model.decoder.keys_values(model.encoder(src_ids, src_mask))
        self.ids = src_ids.new_empty(len(src_ids) * beam, 0)

    def advance(self, ids: Rows) -> Float[Tensor, "rows vocab"]:
        """See ``Decoding``."""
        self.ids = torch.cat([self.ids, ids[:, None]], dim=1)
        hidden = self.model.decoder(self.ids, self.cross, memory_mask=self.memory_mask)
        logits: Tensor = self.model.lm_head(hidden[:, -1])
        return logits

    def reorder(self, rows: Rows) -> None:
        """See ``Decoding``."""
        self.ids = self.ids[rows]

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """See ``Decoding``."""
        self.ids = self.ids[rows_of(sentences, self.beam)]
        self.cross = [(keys[sentences], values[sentences]) for keys, values in self.cross]
        if self.memory_mask is not None:
            self.memory_mask = self.memory_mask[sentences]


class RNNDecoding:
    """Computes one position a step from an ``RNNState``, which never grows; beams of one sentence share its source.

    Args:
        model: in evaluation mode.
        src_ids: [batch, src_seq].
        src_mask: [batch, src_seq], True at real pieces; None: all are.
        beam: rows per sentence.
    """

    def __init__(
        self,
        model: RNNTranslator,
        src_ids: Int[Tensor, "batch src"],
        src_mask: Bool[Tensor, "batch src"] | None,
        *,
        beam: int = 1,
    ) -> None:
        self.model, self.beam = model, beam
        self.cache = model.begin(src_ids, src_mask, beam=beam)

    def advance(self, ids: Rows) -> Float[Tensor, "rows vocab"]:
        """See ``Decoding``."""
        logits: Tensor = self.model.lm_head(self.model.decoder(ids[:, None], self.cache)[:, 0])
        return logits

    def reorder(self, rows: Rows) -> None:
        """See ``Decoding``."""
        self.cache.reorder(rows)

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """See ``Decoding``."""
        self.cache.keep(sentences, rows_of(sentences, self.beam))


class Shortlisted:
    """Any ``Decoding``, with logits of -inf outside of each sentence's shortlist: probabilities are over it alone.

    Args:
        decoding: at its start.
        shortlists: for each sentence the pieces that may come.
        vocab: pieces there are.
        beam: rows per sentence.
        device: of the logits.
    """

    def __init__(
        self,
        decoding: Decoding,
        shortlists: Sequence[NDArray[np.int32]],
        *,
        vocab: int,
        beam: int,
        device: torch.device | str = "cpu",
    ) -> None:
        out = np.ones((len(shortlists), vocab), np.bool_)
        for row, pieces in zip(out, shortlists, strict=True):
            row[pieces] = False
        self._decoding, self._beam, self._out = decoding, beam, torch.from_numpy(out).to(device)

    def advance(self, ids: Rows) -> Float[Tensor, "rows vocab"]:
        """See ``Decoding``."""
        logits = self._decoding.advance(ids)
        return logits.masked_fill(self._out.repeat_interleave(self._beam, dim=0), float("-inf"))

    def reorder(self, rows: Rows) -> None:
        """See ``Decoding``."""
        self._decoding.reorder(rows)

    def keep(self, sentences: Int[Tensor, " kept"]) -> None:
        """See ``Decoding``."""
        self._out = self._out[sentences]
        self._decoding.keep(sentences)


def start_decoding(
    model: Transformer | RNNTranslator | NativeModel,
    src_ids: Int[Tensor, "batch src"],
    src_mask: Bool[Tensor, "batch src"] | None,
    *,
    beam: int = 1,
    capacity: int = 32,
) -> Decoding:
    """Returns the fastest step that the model allows; arguments as in ``CachedDecoding``."""
    if isinstance(model, NativeModel):
        return NativeDecoding(model, src_ids, src_mask, beam=beam)
    if isinstance(model, RNNTranslator):
        return RNNDecoding(model, src_ids, src_mask, beam=beam)
    if model.cacheable:
        return CachedDecoding(model, src_ids, src_mask, beam=beam, capacity=capacity)
    return RecomputedDecoding(model, src_ids, src_mask, beam=beam)


def rows_of(sentences: Int[Tensor, " kept"], beam: int) -> Int[Tensor, " kept_rows"]:
    """Returns the rows that belong to ``sentences``."""
    return (sentences[:, None] * beam + torch.arange(beam, device=sentences.device)).flatten()
