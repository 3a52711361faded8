"""Whole characters: the automaton against Python's own reader of UTF-8, and a way on from wherever it leads."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from clearhead.text.characters import Characters, characters_of

# the borders of all ranges of RFC 3629, and what lies beside them
EDGES = [
    0x00,
    0x7F,
    0x80,
    0x8F,
    0x90,
    0x9F,
    0xA0,
    0xBF,
    0xC1,
    0xC2,
    0xDF,
    0xE0,
    0xE1,
    0xED,
    0xEE,
    0xF0,
    0xF3,
    0xF4,
    0xF5,
]
BYTES = [bytes([byte]) for byte in range(256)]
PIECES = [b"", *BYTES, b"\xe8\x8b", b"\x8b\xb9", b"\xb9\xe6", b"a\xe6", "苹果".encode(), b"\xf0\x9f\x98"]


def reads(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def of(pieces: Sequence[bytes]) -> Characters:
    characters = characters_of(pieces)
    assert characters is not None
    return characters


def runs(characters: Characters, ids: Sequence[int]) -> bool:
    """Whether all pieces may follow one another and end between characters."""
    state = 0
    for piece in ids:
        if not characters.allowed[-1, state, piece]:
            return False
        state = int(characters.after[state, piece])
    return state == 0


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_bytes_are_read_as_python_reads_them(count: int) -> None:
    characters = of(BYTES)
    wrong = [ids for ids in itertools.product(EDGES, repeat=count) if runs(characters, ids) != reads(bytes(ids))]
    assert wrong == []


def test_pieces_are_read_as_their_bytes() -> None:
    characters, ids = of(PIECES), [0, 1 + 0x61, 1 + 0x8B, 1 + 0xE8, *range(257, len(PIECES))]
    for run in itertools.product(ids, repeat=3):
        text = b"".join(PIECES[piece] for piece in run)
        states = np.cumsum([0, *(len(PIECES[piece]) for piece in run)])
        inside = any(PIECES[piece] == b"" and not reads(text[:at]) for piece, at in zip(run, states, strict=False))
        assert runs(characters, run) == (reads(text) and not inside), run
    assert [PIECES[piece] for piece in ids if characters.whole[piece]] == [b"", b"a", "苹果".encode()]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_there_is_always_a_way_on_and_the_limit_finds_no_half_character(limit: int) -> None:
    for pieces in (PIECES, [b"a", b"\xe8", b"\x8b", b"\xf0", b"\x9f"], [b"a", b"\xe8", b"\x8b\xb9", b"\xf0\x9f"]):
        characters, ends = of(pieces), {0}
        for length in range(limit):
            room = min(limit - length - 1, characters.most)
            ways = {state: np.flatnonzero(characters.allowed[room, state]) for state in ends}
            assert all(map(len, ways.values())), f"no way on: {ways}"
            ends = {int(characters.after[state, piece]) for state, way in ways.items() for piece in way}
        assert ends == {0}


def test_what_no_piece_can_finish_never_begins() -> None:
    characters = of([b"a", b"\xe8", b"\x8b", b"\xf0"])  # no piece may follow F0
    assert characters.allowed[-1, 0].tolist() == [True, True, False, False]


def test_pieces_of_whole_characters_need_no_rule() -> None:
    assert characters_of([b"", b"a", "好".encode(), " ☃".encode()]) is None
    assert characters_of([]) is None
