"""Where pieces stand in their text, and the words that they make: what a page shows, colours and lets be chosen."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

WIDE = r"\u2e80-\u9fff\uf900-\ufaff\uff00-\uff9f"
"""Characters of Chinese and Japanese, as ranges."""
ALONE = re.compile(rf"[{WIDE}]|[^\w\s'’-]")
"""Characters that are a word by themselves where a piece begins at one: those of Chinese and Japanese, punctuation."""


@dataclass(frozen=True)
class Word:
    """A word of a text."""

    start: int
    """Its first character in the text."""
    end: int
    """Behind its last one."""
    first: int
    """Its first piece."""
    last: int
    """Its last piece."""


def spans(ids: Sequence[int], text_of: Callable[[Sequence[int]], str]) -> list[tuple[int, int]]:
    """Returns for each piece where in the text of all it stands; a part of a character may have no place of its own.

    Args:
        ids: the pieces.
        text_of: the text of the first pieces.
    """
    whole, ends = text_of(ids), [0]
    for count in range(1, len(ids)):
        both = zip(text_of(ids[:count]), whole, strict=False)
        ends.append(max(ends[-1], sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))))
    ends.append(len(whole))
    return list(pairwise(ends)) if ids else []


def words(text: str, places: Sequence[tuple[int, int]]) -> list[Word]:
    """Returns the words of a text, in order.

    A word begins with a piece that stands behind a space or has one in front, and at a character that is a word by
    itself; pieces without a place of their own belong to the word that the character which they are part of is in.
    """
    begins = [number for number, (start, end) in enumerate(places) if start < end and _begins(text, start)]
    found = []
    for first, following in pairwise([*begins, len(places)]):
        start, end = places[first][0], places[following - 1][1]
        start += len(text[start:end]) - len(text[start:end].lstrip())
        end -= len(text[start:end]) - len(text[start:end].rstrip())
        if start < end:
            found.append(Word(start, end, first, following - 1))
    return found


def _begins(text: str, at: int) -> bool:
    if not text[:at].strip() or text[at].isspace() or text[at - 1].isspace():
        return True
    return bool(ALONE.match(text[at]) or (ALONE.match(text[at - 1]) and text[at - 1].isalpha()))
