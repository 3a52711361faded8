"""Log-probabilities of pieces, as completions tell them."""

from collections.abc import Sequence
from typing import Any

from clearhead.serve.writing import Wrote
from clearhead.text.tokenizer import Tokenizer


class LogProbs:
    """Tells them.

    Args:
        tokenizer: names the pieces.
        top: how many of the most probable pieces are told.
    """

    def __init__(self, tokenizer: Tokenizer, top: int) -> None:
        self.tokenizer, self.top = tokenizer, top

    def tree(self, pieces: Sequence[Wrote], offset: int) -> dict[str, Any]:
        """Returns the field ``logprobs`` of a choice, whose text begins at ``offset``."""
        pieces = [piece for piece in pieces if piece.id >= 0]
        offsets = []
        for piece in pieces:
            offsets.append(offset)
            offset += len(piece.text)
        return {
            "tokens": [self.name(piece.id) for piece in pieces],
            "token_logprobs": [piece.log_prob for piece in pieces],
            "top_logprobs": [dict(self.ranked(piece)) for piece in pieces] if self.top else None,
            "text_offset": offsets,
        }

    def ranked(self, piece: Wrote) -> list[tuple[str, float]]:
        """Returns the most probable pieces by name, best first, without infinities, which JSON does not have."""
        return [(self.name(index), log_prob) for index, log_prob in piece.top[: self.top] if log_prob > -1e9]

    def name(self, index: int) -> str:
        """Returns what a piece spells; its name if that is no whole text."""
        spelling = self.tokenizer.spelling(index)
        try:
            return spelling.decode() or self.tokenizer.piece(index)
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelling)
