"""The step under a search of a recurrent translator: one position a step, from a state that never grows."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from clearhead.decode.decoding import Rows, rows_of
from clearhead.models.rnn import RNNTranslator


class RNNDecoding:
    """A ``Decoding`` with an ``RNNState`` for its cache; beams of one sentence share its source.

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
