"""What a language model writes after a prompt, whatever computes it; no torch."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

Reason = Literal["end", "length", "stop"]


@dataclass
class Continuation:
    """What follows a prompt."""

    ids: list[int] = field(default_factory=list)
    """Generated pieces, with the end mark where it came."""
    log_probs: list[float] = field(default_factory=list)
    """Of each, by the model itself: before temperature, penalties and bans."""
    reason: Reason = "length"
    """Why there are no more: the end mark, the limit, or because ``stopped`` said so."""
    drafted: int = 0
    """Pieces that a draft model proposed."""
    accepted: int = 0
    """How many of them stood."""
    cut_better: bool = False
    """True if the limit cut off another text of a search, which has a better rank score."""

    def take(
        self, piece: int, log_prob: float, *, ends: Collection[int], limit: int, stopped: Callable[[int], bool]
    ) -> bool:
        """Adds a piece; returns whether the text is over."""
        self.ids.append(piece)
        self.log_probs.append(log_prob)
        if piece in ends:
            self.reason = "end"
        elif stopped(piece):
            self.reason = "stop"
        return self.reason != "length" or len(self.ids) >= limit


def never(piece: int) -> bool:
    """The ``stopped`` of a text that nothing but its end mark and its limit ends."""
    return False
