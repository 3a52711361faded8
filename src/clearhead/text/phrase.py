"""Phrases as automata over pieces: find a phrase in a text however the text is cut into pieces."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.text.tokenizer import Tokenizer

# A byte that occurs in no text; stands for any letter of a word.
_LETTER = b"\xff"
# First bytes of characters in words that need a border: ASCII letters and digits, and the scripts of two bytes in UTF-8
# from U+00C0 on (accented Latin, Greek, Cyrillic, Hebrew, Arabic). Chinese, Japanese, Korean and Thai need none.
_WORD = {bytes([b]) for b in range(256) if (b < 128 and chr(b).isalnum()) or 0xC3 <= b < 0xE0} | {_LETTER}
_INSIDE = bytes(range(0x80, 0xC0))  # bytes of a character after its first


@dataclass(frozen=True, eq=False)
class Automaton:
    """A finite automaton that reads pieces and tells how far a phrase has come, and whether one has occurred.

    It starts in state 0. Once a phrase and the word border after it have occurred, it stays in the last state.
    """

    steps: NDArray[np.int32]
    """[states, kinds], the next state after a piece of each kind; pieces are of few kinds, so that this is small."""
    kinds: NDArray[np.int32]
    """[vocab], the kind of each piece."""
    done: NDArray[np.bool_]
    """[states], whether a phrase has occurred if the text ends here; another letter may continue its last word."""

    @classmethod
    def of(cls, table: NDArray[np.int32], done: NDArray[np.bool_]) -> "Automaton":
        """Returns the automaton of a ``table``."""
        steps, kinds = np.unique(table, axis=1, return_inverse=True)
        return cls(steps, kinds.astype(np.int32).reshape(-1), done)

    @property
    def table(self) -> NDArray[np.int32]:
        """[states, vocab], the next state after each piece; made at each call."""
        return self.steps[:, self.kinds]

    def after(self, state: int, piece: int) -> int:
        """Returns the next state."""
        return int(self.steps[state, self.kinds[piece]])

    def contains(self, ids: Iterable[int]) -> bool:
        """Returns whether a phrase occurs in the text of ``ids``."""
        return bool(self.done[functools.reduce(self.after, ids, 0)])

    @functools.cached_property
    def left(self) -> NDArray[np.int64]:
        """[states], fewest pieces that complete a phrase; the number of states if no pieces do."""
        left = np.where(self.done, 0, len(self.done))
        while True:
            nearer = np.minimum(left, left[self.steps].min(axis=1) + 1)
            if (nearer == left).all():
                return left
            left = nearer

    @functools.cached_property
    def ways(self) -> list[NDArray[np.int64]]:
        """For each state, the pieces that bring the end of a phrase one piece nearer."""
        near = [self.left[row] < left for row, left in zip(self.steps, self.left, strict=True)]
        return [np.flatnonzero(kinds[self.kinds]) for kinds in near]


class Spellings:
    """The bytes that each piece of a vocabulary adds to a text; none for special pieces."""

    def __init__(self, pieces: Sequence[bytes]):
        self.pieces = list(pieces)
        self._lengths = np.array([len(piece) for piece in pieces])
        longest = max(map(len, pieces))
        padded = b"".join(piece.ljust(longest) for piece in pieces)
        self._bytes = np.frombuffer(padded, np.uint8).reshape(len(pieces), longest)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Spellings":
        """Returns the spellings of all pieces of a tokenizer."""
        return cls([tokenizer.spelling(index) for index in range(tokenizer.vocab_size)])

    def automaton(self, phrases: Sequence[bytes], open_phrases: Sequence[bytes] = ()) -> Automaton:
        """Returns the automaton that finds any of ``phrases``, as whole words in scripts that separate words.

        It finds ``open_phrases`` too, whose last word may go on. No phrase may be empty. The states are those of Aho
        and Corasick (1975) over bytes; a piece moves through them byte by byte (Willard and Louf 2023,
        arXiv:2307.09702), so that every segmentation of a phrase is found.
        """
        after, done = _read_bytes(phrases, open_phrases)
        table = np.repeat(np.arange(len(done), dtype=np.int32)[:, None], len(self.pieces), axis=1)
        for at in range(self._bytes.shape[1]):
            rest = np.flatnonzero(self._lengths > at)
            table[:, rest] = after[table[:, rest], self._bytes[rest, at]]
        return Automaton.of(table, done)


def _read_bytes(phrases: Sequence[bytes], open_phrases: Sequence[bytes]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Returns the next state after each byte [states, 256], and ``Automaton.done`` [states]."""
    every, unclosed = [*phrases, *open_phrases], set(open_phrases)
    prefixes = sorted({phrase[:count] for phrase in every for count in range(1, len(phrase) + 1)})
    number = {text: state for state, text in enumerate(prefixes, 2)}
    # what each state knows of the end of the text: nothing, that it is a letter, or that it is a prefix of a phrase
    texts = [b"", _LETTER, *prefixes]
    whole, used = set(every), set(b"".join(every))

    def starts(text: bytes) -> list[int]:
        """Returns the positions from which the text is a prefix of a phrase up to its end, the longest first."""
        return [at for at in range(len(text)) if text[at:] in number and _border(text[:at], text[at:])]

    done = [any(text[at:] in whole for at in starts(text)) for text in texts]

    def after(state: int, byte: int) -> int:
        text = texts[state] + bytes([byte])
        places = starts(text) if byte in used else []
        ended = any(text[at:] in whole for at in places)
        over = ended and (not _in_word(text) or any(text[at:] in unclosed for at in places))
        if over or (done[state] and _border(texts[state], text[-1:])):
            return len(texts)
        return number[text[places[0] :]] if places else int(_in_word(text))

    table = [[after(state, byte) for byte in range(256)] for state in range(len(texts))]
    return np.array([*table, [len(texts)] * 256], dtype=np.int32), np.array([*done, True])


def _in_word(text: bytes) -> bool:
    """Returns whether the last character is one of a word, which needs a border after it."""
    return text.rstrip(_INSIDE)[-1:] in _WORD


def _border(left: bytes, right: bytes) -> bool:
    """Returns whether a phrase may end, or another begin, between ``left`` and ``right``."""
    return not (_in_word(left) and right[:1] in _WORD)
