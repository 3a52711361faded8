"""Puts the markup and the line breaks of a block into its translation, by which words come from which."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from clearhead.documents.blocks import Block, Document, Span, is_wide
from clearhead.documents.words import WIDE

_WORD = re.compile(rf"[{WIDE}]|[^\W{WIDE}]+(?:['’.-][^\W{WIDE}]+)*|[^\w\s{WIDE}]")


@dataclass(frozen=True)
class Link:
    """A word of a translation, and where in the source it comes from."""

    begin: int
    end: int
    sources: tuple[float, ...]
    """Places in the text of the block; there may be none."""


def diagonal(text: str, source: str) -> list[Link]:
    """Returns links where nobody knows them: each word comes from the place that is as far from the beginning."""
    size, whole = len(text) or 1, len(source)
    return [
        Link(match.start(), match.end(), ((match.start() + match.end()) / 2 / size * whole,))
        for match in _WORD.finditer(text)
    ]


def written(block: Block, text: str, links: Sequence[Link] | None = None) -> str:
    """Returns the translation of a block as it is to be written, with all of the block's markup, each once.

    A span is put around the longest run of words that come from its words; where none does, around the one that is
    about as far from the beginning. One that is kept takes their place. A text that is the block's own is written as
    the block is.

    Args:
        block: the source.
        text: the translation.
        links: its words, in order; None: they are guessed, see ``diagonal``.
    """
    if text == block.text:
        return block.raw
    pieces = _Placing(block, text, links or diagonal(text, block.text)).pieces()
    return block.guard("".join(_broken(pieces, block)))


def filled(document: Document, texts: Sequence[str]) -> str:
    """Returns a document with these translations of its blocks, where nobody knows which words come from which."""
    return document.having([written(block, text) for block, text in zip(document.blocks, texts, strict=True)])


@dataclass(frozen=True)
class _Piece:
    """A part of what is written: prose, or markup as it stands."""

    text: str
    is_prose: bool
    size: int = 0
    """Of the source's characters for which it stands, in characters."""


class _Placing:
    """Where each span of a block goes in a translation."""

    def __init__(self, block: Block, text: str, links: Sequence[Link]) -> None:
        self.block, self.text, self.links = block, text, links
        self.events: list[tuple[int, int, int, str, int]] = []
        """(place, order, order, markup, characters that it stands for), to be sorted."""
        self.gone: list[tuple[int, int]] = []
        """Places in the text that kept spans take."""
        self._place(list(block.spans), 0, len(links), (0, len(block.text)), 1)

    def pieces(self) -> Iterator[_Piece]:
        """Yields the translation in its parts."""
        at = 0
        for place, _, _, raw, size in sorted(self.events, key=lambda event: event[:3]):
            yield from self._prose(at, place)
            at = place
            yield _Piece(raw, is_prose=False, size=size)
        yield from self._prose(at, len(self.text))

    def _prose(self, begin: int, end: int) -> Iterator[_Piece]:
        for first, last in [*self.gone, (end, end)]:
            if begin < min(first, end):
                yield _Piece(self.text[begin : min(first, end)], is_prose=True)
            begin = max(begin, min(last, end))

    def _place(self, spans: list[Span], first: int, last: int, around: tuple[int, int], depth: int) -> None:
        """Places spans that are all inside of ``around``, among the words from ``first`` to before ``last``."""
        free = set(range(first, last))
        top, inside = _nested(spans)
        runs = {}
        for number, span in enumerate(top):
            if (span.begin, span.end) == around and not span.kept and last > first:
                runs[number] = (first, last)
            elif span.begin < span.end and (run := self._run(span, first, last)):
                runs[number] = run
        for begin, end in runs.values():
            free -= set(range(begin, end))
        for number, span in enumerate(top):
            run = runs.get(number)
            if run is None and span.closing and (near := self._nearest(span, free)) is not None:
                run = (near, near + 1)
                free.discard(near)
            if run is None:
                self._point(span, first, last, around, depth)
                for each in inside[number]:
                    self._point(each, first, last, around, depth)
                continue
            self._around(span, run, depth)
            self._place(inside[number], *run, (span.begin, span.end), depth + 1)

    def _around(self, span: Span, run: tuple[int, int], depth: int) -> None:
        begin, end = self.links[run[0]].begin, self.links[run[1] - 1].end
        if span.kept:
            self._mark(begin, 1, depth, span)
            self.gone = sorted([*self.gone, (begin, end)])
            return
        self.events.append((begin, 1, depth, span.opening, 0))
        self.events.append((end, -1, -depth, span.closing, 0))

    def _mark(self, place: int, order: int, depth: int, span: Span, raw: str = "") -> None:
        size = span.end - span.begin if span.kept else 0
        self.events.append((place, order, depth, raw or span.opening + span.closing, size))

    def _run(self, span: Span, first: int, last: int) -> tuple[int, int] | None:
        """Returns the longest run of words that come from a span, the first of several."""
        runs, start = list[tuple[int, int]](), None
        for word in range(first, last + 1):
            of_span = word < last and self._is_of(word, span)
            if of_span and start is None:
                start = word
            elif not of_span and start is not None:
                runs.append((start, word))
                start = None
        return max(runs, key=lambda run: run[1] - run[0], default=None)

    def _is_of(self, word: int, span: Span) -> bool:
        sources = self.links[word].sources
        return 2 * sum(span.begin <= source < span.end for source in sources) > len(sources)

    def _nearest(self, span: Span, free: set[int]) -> int | None:
        place = (span.begin + span.end) / 2 / (len(self.block.text) or 1) * len(self.text)
        return min(free, key=lambda word: (abs(self.links[word].begin - place), word), default=None)

    def _point(self, span: Span, first: int, last: int, around: tuple[int, int], depth: int) -> None:
        """Places what has no words of its own, behind the last word that comes from before it."""
        raw = span.opening + span.closing
        own = self.links[first:last]
        if not own or span.begin <= around[0]:
            self._mark(own[0].begin if own else len(self.text) * bool(first), 0, depth, span)
            return
        if span.begin >= around[1] and not span.kept:
            self._mark(own[-1].end, 0, depth, span)
            return
        before = [(max(link.sources), link.end) for link in own if link.sources and max(link.sources) < span.begin]
        spaced = " " if span.begin and self.block.text[span.begin - 1].isspace() else ""
        if span.begin == span.end:
            follower = min((link.begin for link in own if before and link.begin >= max(before)[1]), default=None)
            place = follower if follower is not None and spaced else max(before)[1] if before else own[0].begin
            self._mark(place, 0, depth, span)
        elif before:
            self._mark(max(before)[1], 0, depth, span, spaced + raw)
        else:
            self._mark(own[0].begin, 0, depth, span, f"{raw} ")


def _nested(spans: list[Span]) -> tuple[list[Span], list[list[Span]]]:
    """Returns the outermost of spans, and what is inside of each."""
    top: list[Span] = []
    inside: list[list[Span]] = []
    for span in spans:
        if top and span.depth > top[-1].depth:
            inside[-1].append(span)
        else:
            top.append(span)
            inside.append([])
    return top, inside


def _broken(pieces: Iterator[_Piece], block: Block) -> Iterator[str]:
    """Yields what is written, with line breaks where they share it out as they share out the source."""
    parts = list(pieces)
    places = _places(parts, block)
    for number, piece in enumerate(parts):
        if not piece.is_prose:
            yield piece.text
            continue
        cuts = [(at, end, raw) for own, at, end, raw in places if own == number]
        begin = 0
        for at, end, raw in cuts:
            yield block.escape(piece.text[begin:at]) + raw
            begin = end
        yield block.escape(piece.text[begin:])
    yield "".join(raw for own, _, _, raw in places if own < 0)


def _places(parts: list[_Piece], block: Block) -> list[tuple[int, int, int, str]]:
    """Returns for each break its piece (-1: behind all), the characters that it takes the place of, and the break."""
    if not block.breaks:
        return []
    possible, whole = list[tuple[float, int, int, int]](), 0
    for number, piece in enumerate(parts):
        if piece.is_prose:
            possible += [(whole + at, number, at, end) for at, end in _gaps(piece.text, inside=number > 0)]
        whole += len(piece.text) if piece.is_prose else piece.size
    found, used = list[tuple[int, int, int, str]](), -1
    for count, each in enumerate(block.breaks):
        wanted = each.at / (len(block.text) or 1) * whole
        later = block.breaks[count + 1 :]
        # a place for each that follows, if there are so many; for those that must be there before others
        needed = min(used + 2, len(possible) - (0 if each.must else sum(after.must for after in later)))
        choices = range(used + 1, min(max(len(possible) - len(later), needed), len(possible)))
        nearest = min(choices, key=lambda number: abs(possible[number][0] - wanted), default=None)
        if nearest is not None:
            used = nearest
            found.append((*possible[nearest][1:], each.raw))
        elif each.must:
            found.append((-1, 0, 0, each.raw))
    return found


def _gaps(text: str, *, inside: bool) -> list[tuple[int, int]]:
    """Returns where a line may end in a text: at spaces, the first too if ``inside``, and between wide characters."""
    gaps = [match.span() for match in re.finditer(r"(?<!\s)\s+(?=[^\s#>+*|=-])(?!\d+[.)]\s)", text)]
    gaps = [gap for gap in gaps if inside or gap[0]]
    wide = [(at, at) for at, (left, right) in enumerate(pairwise(text), 1) if _between(left, right)]
    return sorted({*gaps, *wide})


def _between(left: str, right: str) -> bool:
    return is_wide(left) and is_wide(right) and right.isalpha()
