"""Log-probabilities of pieces, as completions tell them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from clearhead.decode.streaming import TextStream
from clearhead.serve.writing import Wrote
from clearhead.tasks.language_model.prompts import Prompt
from clearhead.tasks.native import engine_model
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
        offsets, known = [], [not math.isnan(piece.log_prob) for piece in pieces]
        for piece in pieces:
            offsets.append(offset)
            offset += len(piece.text)
        tops = [dict(self.ranked(piece)) if told else None for piece, told in zip(pieces, known, strict=True)]
        return {
            "tokens": [self.name(piece.id) for piece in pieces],
            "token_logprobs": [piece.log_prob if told else None for piece, told in zip(pieces, known, strict=True)],
            "top_logprobs": tops if self.top else None,
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


def read_pieces(model: Any, prompt: Prompt, top: int) -> list[Wrote]:
    """Returns the pieces of a prompt, each with its log-probability after those before it.

    A mark before a document is no piece of the prompt, but what follows it has a log-probability.

    Args:
        model: a ``TextModel`` that the native engine computes.
        prompt: of one piece or more.
        top: how many of the most probable pieces are told with each.
    """
    engine, stream = engine_model(model), TextStream(model.tokenizer.decode)
    assert engine is not None
    told: list[tuple[float, list[tuple[int, float]]]] = [(math.nan, [])]
    ids = np.array(prompt.ids, dtype=np.int32)
    for pieces, logits, sums in engine.reading(ids, model.context, model.threads):
        for piece, row, total in zip(pieces.tolist(), logits, sums.tolist(), strict=True):
            best = np.argpartition(-row, min(top, len(row) - 1))[:top]
            ranked = sorted(((index, float(row[index]) - total) for index in best.tolist()), key=lambda each: -each[1])
            told.append((float(row[piece]) - total, ranked))
    texts = [*map(stream.push, prompt.ids)]
    texts[-1] += stream.flush()
    read = [Wrote(0, text, index, *own) for text, index, own in zip(texts, prompt.ids, told, strict=True)]
    return read[1:] if model.marks and prompt.ids[0] == model.tokenizer.begin else read
