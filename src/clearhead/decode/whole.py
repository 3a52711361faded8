"""Whole characters in a search: no piece breaks off a character, begins in its middle, or begins one past the limit."""

import functools
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from clearhead.decode.rules import Rule
from clearhead.text.characters import Characters

OFF = float("-inf")
TAIL = 3  # pieces that a character may have before its last one


class Whole:
    """Takes out the pieces that would make half a character.

    The state is read off the last pieces: a character that is not finished has begun in one of the last three. Where
    other rules leave none of the pieces that may come, those that they leave stay.

    Args:
        characters: of the vocabulary.
        device: of the search.
    """

    def __init__(self, characters: Characters, device: torch.device | str = "cpu") -> None:
        self._after = torch.from_numpy(characters.after).to(device)
        self._allowed = torch.from_numpy(characters.allowed).to(device)
        self._most = characters.most
        self._never_first = (~self._allowed[-1, 0]).nonzero()[:, 0]

    def mask_(self, scores: Tensor, tail: Int[Tensor, "rows tail"], room: Int[Tensor, " rows"]) -> None:
        """Sets scores [rows, vocab] of pieces that may not come to -inf.

        Args:
            scores: of the next piece, changed in place.
            tail: the last pieces of each row, ``TAIL`` of them unless the text has fewer; below 0 stands for none.
            room: how many pieces may come after the next one.
        """
        states = torch.zeros_like(room, dtype=torch.int32)
        for pieces in tail.unbind(1):
            states = torch.where(pieces < 0, states, self._after[states, pieces.clamp(min=0)])
        # most rows are between characters, with room for any: there few pieces are out
        special = ((states != 0) | (room < self._most)).nonzero()[:, 0]
        before = scores[special]
        scores.index_fill_(1, self._never_first, OFF)
        if len(special):
            allowed = self._allowed[room[special].clamp(0, self._most), states[special]]
            masked = before.masked_fill(~allowed, OFF)
            stuck = masked.amax(dim=1, keepdim=True) == OFF
            scores[special] = torch.where(stuck, before, masked)


@functools.lru_cache(maxsize=8)
def whole_of(characters: Characters, device: torch.device | str) -> Whole:
    """Returns the tables of a vocabulary on a device, which are copied there once."""
    return Whole(characters, device)


def whole_characters(
    characters: Characters | None, limits: Sequence[int], device: torch.device | str = "cpu"
) -> list[Rule]:
    """Returns the rule of a search that writes whole characters only; none where the vocabulary has no others.

    Args:
        characters: of the vocabulary.
        limits: most pieces of each sentence, end mark included.
        device: of the search.
    """
    if characters is None:
        return []
    whole, most = whole_of(characters, device), torch.tensor(list(limits), device=device)

    def rule(scores: Tensor, ids: Tensor, sentences: Tensor) -> None:
        room = (most[sentences] - ids.shape[2] - 1).repeat_interleave(ids.shape[1])
        whole.mask_(scores.flatten(0, 1), ids[:, :, -TAIL:].flatten(0, 1), room)

    return [rule]
