"""Puts the markup and the line breaks of a block into its translation, by which words come from which."""

import re
from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import TypeAlias

from clearhead.documents.blocks import Block, Document, Span, is_wide
from clearhead.documents.words import WIDE

Numbered: TypeAlias = tuple[int, Span]
"""A span with its number in the block."""
DEEPEST = 50
"""Spans inside of each other; of those further inside both tags stand at one place."""
_INSIDE = rf"[^\W{WIDE}]"
"""A character of a word that others belong to."""
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
    about as far from the beginning. One that is kept takes the place of its own words where the translation says them,
    or else of those that come from it, if that is known. A text that is the block's own is written as the block is.

    Args:
        block: the source.
        text: the translation.
        links: its words, in order; None: they are guessed, see ``diagonal``.
    """
    if text == block.text:
        return block.raw
    pieces = _Placing(block, text, links).pieces()
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

    def __init__(self, block: Block, text: str, links: Sequence[Link] | None) -> None:
        self.block, self.text, self.knows = block, text, links is not None
        self.events: list[tuple[int, int, int, str, int]] = []
        """(place, order, order, markup, characters that it stands for), to be sorted."""
        self.said = _said(block, text)
        """By number of a kept span, where the translation says the same."""
        self.gone: list[tuple[int, int]] = list(self.said.values())
        """Places in the text that kept spans take."""
        self.taken = set[int]()
        """Words that are there."""
        self.links = self._linked(links or diagonal(text, block.text))
        self._place(list(enumerate(block.spans)), 0, len(self.links), (0, len(block.text)), 1)

    def _linked(self, links: Sequence[Link]) -> list[Link]:
        """Returns the words; those that say what a kept span says come from it."""
        places = sorted((*place, number) for number, place in self.said.items())
        begins, found = [begin for begin, _, _ in places], list(links)
        for word, link in enumerate(links):
            last = bisect_left(begins, link.end)
            if last and link.begin < places[last - 1][1]:
                span = self.block.spans[places[last - 1][2]]
                found[word] = Link(link.begin, link.end, ((span.begin + span.end) / 2,))
                self.taken.add(word)
        return found

    def pieces(self) -> Iterator[_Piece]:
        """Yields the translation in its parts."""
        at, gone = 0, deque(sorted(self.gone))
        for place, _, _, raw, size in sorted(self.events, key=lambda event: event[:3]):
            yield from self._prose(at, place, gone)
            at = max(at, place)
            yield _Piece(raw, is_prose=False, size=size)
        yield from self._prose(at, len(self.text), gone)

    def _prose(self, begin: int, end: int, gone: deque[tuple[int, int]]) -> Iterator[_Piece]:
        """Yields a stretch of the text without what is gone; ``gone`` loses what lies before its end."""
        while begin < end:
            while gone and gone[0][1] <= begin:
                gone.popleft()
            first, last = gone[0] if gone else (end, end)
            if begin < min(first, end):
                yield _Piece(self.text[begin : min(first, end)], is_prose=True)
            begin = max(min(first, end), last if first < end else end)

    def _place(self, spans: list[Numbered], first: int, last: int, around: tuple[int, int], depth: int) -> None:
        """Places spans that are all inside of ``around``, among the words from ``first`` to before ``last``."""
        top, inside = _nested(spans)
        whole = [place for place, (_, span) in enumerate(top) if (span.begin, span.end) == around and not span.kept]
        runs = dict.fromkeys(whole, (first, last)) if whole and last > first else self._runs(top, first, last)
        used = {word for begin, end in runs.values() for word in range(begin, end)}
        used |= self.taken
        free = [word for word in range(first, last) if word not in used]
        points = _Points(self.links[first:last], first > 0)
        for number, (place, span) in enumerate(top):
            if (said := self.said.get(place)) is not None:
                self._mark(said[0], 1, depth, span)
                continue
            run = runs.get(number)
            if run is None and span.closing and (near := self._nearest(span, free)) is not None:
                run = (near, near + 1)
                free.remove(near)
            if run is None:
                for _, each in ((place, span), *inside[number]):
                    self._point(each, points, around, depth)
                continue
            self._around(span, run, depth)
            if depth < DEEPEST:
                self._place(inside[number], *run, (span.begin, span.end), depth + 1)
                continue
            within = _Points(self.links[run[0] : run[1]], run[0] > 0)
            for _, each in inside[number]:
                self._point(each, within, (span.begin, span.end), depth + 1)

    def _around(self, span: Span, run: tuple[int, int], depth: int) -> None:
        begin, end = self.links[run[0]].begin, self.links[run[1] - 1].end
        if span.kept:
            self._mark(begin, 1, depth, span)
            self.gone.append((begin, end))
            return
        self.events.append((begin, 1, depth, span.opening, 0))
        self.events.append((end, -1, -depth, span.closing, 0))

    def _mark(self, place: int, order: int, depth: int, span: Span, raw: str = "") -> None:
        size = span.end - span.begin if span.kept else 0
        self.events.append((place, order, depth, raw or span.opening + span.closing, size))

    def _runs(self, spans: list[Numbered], first: int, last: int) -> dict[int, tuple[int, int]]:
        """Returns the longest run of words that come from each of spans side by side, the first of several."""
        wide = [(span.begin, span.end, number) for number, (place, span) in enumerate(spans) if self._asks(place, span)]
        begins, longest = [begin for begin, _, _ in wide], dict[int, tuple[int, int]]()
        if not wide:
            return {}
        owner, start = None, first
        for word in range(first, last + 1):
            now = self._owner(word, wide, begins) if word < last else None
            if now == owner:
                continue
            if owner is not None and word - start > _length(longest.get(owner)):
                longest[owner] = start, word
            owner, start = now, word
        return longest

    def _asks(self, place: int, span: Span) -> bool:
        """Whether words of the translation may be those of a span."""
        return span.begin < span.end and place not in self.said and (self.knows or not span.kept)

    def _owner(self, word: int, wide: list[tuple[int, int, int]], begins: list[int]) -> int | None:
        """Returns the span that most places are in that a word comes from."""
        sources, found = self.links[word].sources, Counter[int]()
        for source in sources:
            begin, end, number = wide[max(bisect_right(begins, source) - 1, 0)]
            if begin <= source < end:
                found[number] += 1
        best = max(found, key=found.__getitem__, default=None)
        return best if best is not None and 2 * found[best] > len(sources) else None

    def _nearest(self, span: Span, free: list[int]) -> int | None:
        place = (span.begin + span.end) / 2 / (len(self.block.text) or 1) * len(self.text)
        after = bisect_left(free, place, key=lambda word: self.links[word].begin)
        near = free[max(after - 1, 0) : after + 1]
        return min(near, key=lambda word: (abs(self.links[word].begin - place), word), default=None)

    def _point(self, span: Span, points: "_Points", around: tuple[int, int], depth: int) -> None:
        """Places what has no words of its own, behind the last word that comes from before it."""
        raw, own = span.opening + span.closing, points.links
        if not own or span.begin <= around[0]:
            self._mark(own[0].begin if own else len(self.text) * points.begun, 0, depth, span)
            return
        if span.begin >= around[1] and not span.kept:
            self._mark(own[-1].end, 0, depth, span)
            return
        end = points.end_before(span.begin)
        spaced = " " if span.begin and self.block.text[span.begin - 1].isspace() else ""
        if span.begin == span.end:
            follower = None if end is None else points.next_begin(end)
            place = follower if follower is not None and spaced else own[0].begin if end is None else end
            self._mark(place, 0, depth, span)
        elif end is not None:
            self._mark(end, 0, depth, span, spaced + raw)
        else:
            self._mark(own[0].begin, 0, depth, span, f"{raw} ")


class _Points:
    """Places between words.

    Args:
        links: the words.
        begun: whether there are words before them.
    """

    def __init__(self, links: Sequence[Link], begun: bool) -> None:
        self.links, self.begun = links, begun
        self._ends = sorted((max(link.sources), link.end) for link in links if link.sources)
        self._begins = [link.begin for link in links]

    def end_before(self, source: int) -> int | None:
        """Returns where the last of the words ends that come from before a place in the source."""
        count = bisect_left(self._ends, (source, -1))
        return self._ends[count - 1][1] if count else None

    def next_begin(self, place: int) -> int | None:
        """Returns where the first word begins from a place in the translation on."""
        count = bisect_left(self._begins, place)
        return self._begins[count] if count < len(self._begins) else None


def _said(block: Block, text: str) -> dict[int, tuple[int, int]]:
    """Returns where a translation says what kept spans say, by their numbers.

    Longer ones choose first; of equal ones the first has the first place.
    """
    kept = [(block.text[span.begin : span.end], number) for number, span in enumerate(block.spans) if span.kept]
    found, ends, places = dict[int, tuple[int, int]](), dict[str, int](), list[tuple[int, int]]()
    for own, number in sorted(filter(itemgetter(0), kept), key=lambda each: (-len(each[0]), each[1])):
        if ends.get(own) == len(text):
            continue
        before, after = (_INSIDE if re.match(_INSIDE, sign) else "" for sign in (own[0], own[-1]))
        pattern = f"(?<!{before})" * bool(before) + re.escape(own) + f"(?!{after})" * bool(after)
        place = _free(re.compile(pattern, re.IGNORECASE).finditer(text, ends.get(own, 0)), places)
        ends[own] = place[1] if place else len(text)
        if place:
            found[number] = place
            insort(places, place)
    return found


def _free(matches: Iterator[re.Match[str]], places: list[tuple[int, int]]) -> tuple[int, int] | None:
    """Returns the first place of matches that none of others, which are sorted, has a part of."""
    for match in matches:
        near = bisect_left(places, match.span())
        around = places[max(near - 1, 0) : near + 1]
        if not any(begin < match.end() and match.start() < end for begin, end in around):
            return match.span()
    return None


def _length(run: tuple[int, int] | None) -> int:
    return 0 if run is None else run[1] - run[0]


def _nested(spans: list[Numbered]) -> tuple[list[Numbered], list[list[Numbered]]]:
    """Returns the outermost of spans, and what is inside of each."""
    top: list[Numbered] = []
    inside: list[list[Numbered]] = []
    for each in spans:
        if top and each[1].depth > top[-1][1].depth:
            inside[-1].append(each)
        else:
            top.append(each)
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
