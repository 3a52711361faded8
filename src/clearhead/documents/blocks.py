"""A document as blocks of prose, each translated as a whole, and what stands between them and stays as it is."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

_ADDRESS = re.compile(
    r"\b(?:https?|ftp)://[!#-;=?-~]*[#-&+/-9=@-Z\\^`-|~-]|\b[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+", re.ASCII
)
"""Addresses of pages and of mail, which nobody translates."""


@dataclass(frozen=True)
class Span:
    """Characters of a block that something is about: a tag, an emphasis, a link."""

    begin: int
    end: int
    opening: str
    """As it is written before them."""
    closing: str = ""
    """Behind them."""
    kept: bool = False
    """Whether they are not translated, as code is not: ``opening`` is all of it, as it is written."""
    depth: int = 0
    """How many others it is inside of."""


@dataclass(frozen=True)
class Break:
    """A place where a line of the document ends inside of a block."""

    at: int
    """The character of the block's text that it stands for, a space; between two where there is none."""
    raw: str
    """As it is written: with the white space around it, and the signs that the next line begins with."""
    must: bool = False
    """Whether it has to be there, though there be no words for the line behind it."""


def as_it_is(text: str) -> str:
    """Returns a text in which nothing has to be escaped."""
    return text


@dataclass(frozen=True)
class Block:
    """Prose that belongs together."""

    text: str
    """As it is read, on one line."""
    raw: str
    """As it is written."""
    spans: tuple[Span, ...] = ()
    """In the order in which they are opened; none crosses another."""
    breaks: tuple[Break, ...] = ()
    escape: Callable[[str], str] = field(default=as_it_is, compare=False)
    """Returns a text as it is to be written."""
    guard: Callable[[str], str] = field(default=as_it_is, compare=False)
    """Returns the whole as it is to be written, so that its first signs are not taken for something else."""

    @property
    def has_prose(self) -> bool:
        """Whether there are words in it that are translated."""
        begins = [(span.begin, span.end) for span in self.spans if span.kept]
        rest = [0, *(end for _, end in begins)], [*(begin for begin, _ in begins), len(self.text)]
        return any(has_words(self.text[begin:end]) for begin, end in zip(*rest, strict=True))

    def with_addresses(self) -> "Block":
        """Returns the block with addresses kept that are in no other kept part of it."""
        spans, near, count = list[Span](), list[Span](), 0
        for match in _ADDRESS.finditer(self.text):
            (begin, end), first = match.span(), count
            while count < len(self.spans) and self.spans[count].begin < end:
                count += 1
            reached = self.spans[first:count]
            near = [span for span in (*near, *reached) if begin < span.end]
            around = [span for span in near if span.begin <= begin and end <= span.end and not span.kept]
            before = sum(span.begin < begin or span in around for span in reached)
            fits = len(near) == len(around)
            own = [Span(begin, end, match[0], kept=True, depth=len(around))] if fits else []
            spans += [*reached[:before], *own, *reached[before:]]
        return replace(self, spans=(*spans, *self.spans[count:]))


@dataclass(frozen=True)
class Document:
    """Blocks, and the text between them."""

    parts: Sequence[str | Block]

    def __post_init__(self) -> None:
        parts = [part if isinstance(part, str) or part.has_prose else part.raw for part in self.parts]
        object.__setattr__(self, "parts", parts)

    @property
    def blocks(self) -> list[Block]:
        """What is translated, in order."""
        return [part for part in self.parts if isinstance(part, Block)]

    def having(self, texts: Sequence[str]) -> str:
        """Returns the whole with these in the places of the blocks."""
        rest = iter(texts)
        return "".join(next(rest) if isinstance(part, Block) else part for part in self.parts)


def nested(spans: Sequence[tuple[int, int, Span]]) -> tuple[Span, ...]:
    """Returns spans as a block has them.

    Args:
        spans: of each where it is opened and where it is closed, in any count that grows through the document.
    """
    found, closed = list[Span](), list[int]()
    for begin, end, span in sorted(spans, key=lambda each: each[0]):
        while closed and closed[-1] <= begin:
            closed.pop()
        found.append(replace(span, depth=len(closed)))
        if begin < end:
            closed.append(end)
    return tuple(found)


def has_words(text: str) -> bool:
    """Whether there is anything to translate."""
    return any(character.isalpha() for character in text)


def is_wide(character: str) -> bool:
    """Whether a character is as wide as two, as those of Chinese and Japanese are, which have no spaces between."""
    return unicodedata.east_asian_width(character) in "WF" and not "\uac00" <= character <= "\ud7a3"


def joiner(before: str, after: str) -> str:
    """Returns what stands between two lines that become one."""
    return "" if before and after and is_wide(before[-1]) and is_wide(after[0]) else " "
