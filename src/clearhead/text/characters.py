"""Whole characters: which piece may follow, so that the bytes of a text form whole UTF-8 characters, also at its limit.

A piece of a vocabulary of bytes may hold a part of a character. An automaton over bytes (RFC 3629, section 4) knows
what the character that was begun still needs.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_REST = range(0x80, 0xC0)
# for each state the bytes that may come, and the state after them; state 0 is between characters
_MOVES: list[list[tuple[range, int]]] = [
    [
        (range(0x80), 0),
        (range(0xC2, 0xE0), 1),
        (range(0xE1, 0xF0), 2),
        (range(0xF1, 0xF4), 3),
        (range(0xE0, 0xE1), 4),
        (range(0xED, 0xEE), 5),
        (range(0xF0, 0xF1), 6),
        (range(0xF4, 0xF5), 7),
    ],
    [(_REST, 0)],  # one byte is missing
    [(_REST, 1)],
    [(_REST, 2)],
    [(range(0xA0, 0xC0), 1)],  # after E0: no longer form of what has two bytes
    [(range(0x80, 0xA0), 1)],  # after ED: no surrogate
    [(range(0x90, 0xC0), 2)],  # after F0: no longer form of what has three bytes
    [(range(0x80, 0x90), 2)],  # after F4: nothing above U+10FFFF
]
_NEVER = 1 << 16  # more pieces than any character takes


@dataclass(frozen=True, eq=False)
class Characters:
    """What the pieces of a vocabulary do to a character that has been begun; state 0 is between characters."""

    after: NDArray[np.int32]
    """[states, vocab], the state after a piece; one that cannot follow begins anew, as a reader of UTF-8 does."""
    allowed: NDArray[np.bool_]
    """[rooms, states, vocab], whether a piece may follow if as many more as its room, or more, may come after it: the
    bytes are valid, and what has been begun can be finished within that room. There is always one, if the pieces
    before were allowed."""

    @property
    def most(self) -> int:
        """The largest room that matters: most pieces that it takes to finish a character."""
        return len(self.allowed) - 1

    @property
    def whole(self) -> NDArray[np.bool_]:
        """[vocab], whether a piece stands for whole characters, or for nothing."""
        return np.asarray(self.allowed[0, 0])


def characters_of(spellings: Sequence[bytes]) -> Characters | None:
    """Returns the automaton over pieces with these bytes; None if each of them is of whole characters.

    A piece without bytes may come between characters only, so that nothing ends inside of one.
    """
    lengths = np.array([len(spelling) for spelling in spellings])
    longest = int(lengths.max(initial=0))
    padded = b"".join(spelling.ljust(longest) for spelling in spellings)
    read = np.frombuffer(padded, np.uint8).reshape(len(spellings), longest)
    move, valid = _bytes_table()
    after = np.repeat(np.arange(len(_MOVES), dtype=np.int32)[:, None], len(spellings), axis=1)
    fits = np.ones(after.shape, np.bool_)
    fits[1:, lengths == 0] = False
    for at in range(longest):
        rest = np.flatnonzero(lengths > at)
        states, bytes_here = after[:, rest], read[rest, at]
        fits[:, rest] &= valid[states, bytes_here]
        after[:, rest] = move[states, bytes_here]
    if fits[0].all() and not after[0].any():
        return None
    left = _left(after, fits)
    most = int(left[left < _NEVER].max())
    return Characters(after, np.stack([fits & (left[after] <= room) for room in range(most + 1)]))


def _left(after: NDArray[np.int32], fits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[states], fewest pieces that finish the character."""
    left = np.array([0] + [_NEVER] * (len(after) - 1))
    for _ in after:
        left = np.minimum(left, np.where(fits, left[after], _NEVER).min(axis=1) + 1)
    return left


@functools.cache
def _bytes_table() -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Returns the state after each byte, and whether it may come: both [states, 256]."""
    move, valid = np.zeros((len(_MOVES), 256), np.int32), np.zeros((len(_MOVES), 256), np.bool_)
    for bytes_of, state in _MOVES[0]:
        move[:, bytes_of] = state
    for row, moves in enumerate(_MOVES):
        for bytes_of, state in moves:
            move[row, bytes_of], valid[row, bytes_of] = state, True
    return move, valid
