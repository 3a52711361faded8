"""Divides a text into parts that a model translates one by one, and puts what comes of them together again."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from clearhead.errors import DataError
from clearhead.text.language import Language
from clearhead.text.overlong import OverlongSource, SplitSource
from clearhead.text.sentences import split_sentences

Encode = Callable[[str], list[int]]

_CLAUSE = re.compile(r"(?<=[，；：、､؛،፣፤፥፦၊–—…])\s*+|(?<=[,;:])\s++")
_SPACE = re.compile(r"\s++")
_KEPT = str.maketrans(dict.fromkeys("\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029", " "))
_JOINER = "\u200d"  # joins two characters to one, as in emoji
_CONJOINING = re.compile("[\u1160-\u11ff\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]")  # belongs to the character before


@dataclass(frozen=True)
class Part:
    """A sentence, or a piece of one, that is translated alone."""

    before: str
    """White space that stands between this part and the one before."""
    ids: list[int]
    inside: bool = False
    """Whether it goes on with the sentence of the part before."""
    text: str = ""
    """What the pieces spell."""


@dataclass(frozen=True)
class Division:
    """A text in parts."""

    parts: list[Part] = field(default_factory=list)
    after: str = ""
    """White space behind the last part; all of a text that has nothing else."""
    dropped: int = 0
    """Pieces that were cut off."""
    cuts: int = 0
    """How often a sentence was cut inside of a clause, because it was too long and had no better place."""

    @property
    def pieces(self) -> int:
        """Pieces of the text, those that were cut off included."""
        return sum(len(part.ids) for part in self.parts) + self.dropped

    def plus(self, other: "Division", before: str) -> "Division":
        """Returns this division with the parts of ``other`` behind it, after the white space ``before``."""
        first, *rest = other.parts
        parts = [*self.parts, replace(first, before=before + first.before), *rest]
        return Division(parts, other.after, self.dropped + other.dropped, self.cuts + other.cuts)

    def join(self, texts: Sequence[str], language: Language) -> str:
        """Puts the translations of the parts together, with line breaks and wide spaces as they are in the text.

        Args:
            texts: of each part.
            language: that the translations are in; it says what stands between two sentences.
        """
        joined = ""
        for number, (part, text) in enumerate(zip(self.parts, texts, strict=True)):
            between = part.before
            if number and not _is_layout(between):
                between = language.joiner if part.inside else language.sentence_joiner
                between = between if joined and text else ""
            joined += between + text
        return joined + self.after


def divide(
    text: str, encode: Encode, *, limit: int, language: Language, split: SplitSource, overlong: OverlongSource
) -> Division:
    """Divides a text into parts of at most ``limit`` pieces.

    Args:
        text: a text of any length; its line breaks divide it like sentence ends do.
        encode: gives the pieces of a text.
        limit: most pieces of a part.
        language: of the text.
        split: ``sentences`` divides at every sentence end, ``overlong`` only a text that is too long, ``never`` none.
        overlong: what happens to what is still too long: ``split`` cuts it between clauses, else at a space, else
            between two characters; ``truncate`` leaves out its end; ``error``, and ``split`` never, refuse it.

    Raises:
        DataError: the text is too long and is to be refused, or has a lone surrogate.
    """
    core = text.strip()
    if not core:
        return Division(after=text.translate(_KEPT))
    ids = encode(core)
    whole = split == "never" or (split == "overlong" and len(ids) <= limit)
    policy = "error" if split == "never" and overlong == "split" else overlong
    division, space = Division(), text[: len(text) - len(text.lstrip())]
    for sentence in [core] if whole else split_sentences(core, language.sentencex):
        words = sentence.strip()
        before = space + sentence[: len(sentence) - len(sentence.lstrip())]
        space = sentence[len(sentence.rstrip()) :]
        sentence_ids = ids if words == core else encode(words)
        if len(sentence_ids) > limit and policy == "error":
            raise DataError(f"text {text[:40]!r}...: has {len(sentence_ids)} pieces, the model takes {limit}")
        division = division.plus(_cut(words, sentence_ids, encode, limit, policy), before.translate(_KEPT))
    return replace(division, after=(space + text[len(text.rstrip()) :]).translate(_KEPT))


def _cut(words: str, ids: list[int], encode: Encode, limit: int, overlong: OverlongSource) -> Division:
    """Returns a sentence in parts; raises DataError if a character has more pieces than a part may have."""
    if len(ids) <= limit:
        return Division([Part("", ids, text=words)])
    if overlong == "truncate":
        end, _ = _Borders(words, encode, limit, least=0.5).after(0)
        kept = words[:end].strip()
        kept_ids = encode(kept)
        return Division([Part("", kept_ids, text=kept)], dropped=len(ids) - len(kept_ids))
    borders, parts, cuts, start, space = _Borders(words, encode, limit), list[Part](), 0, 0, ""
    while start < len(words):
        end, inside_clause = borders.after(start)
        own = words[start:end].strip()
        parts.append(Part(space, encode(own), inside=start > 0, text=own))
        space = words[len(words[:end].rstrip()) : end]
        cuts, start = cuts + inside_clause, end
    return Division(parts, cuts=cuts)


class _Borders:
    """Where a sentence that is too long may be cut."""

    def __init__(self, text: str, encode: Encode, limit: int, *, least: float = 0.0) -> None:
        """``least``: share of what fits that a part must have at least, to be cut at a better place than characters."""
        self._text, self._encode, self._limit, self._least = text, encode, limit, least
        self._better = [[match.end() for match in pattern.finditer(text)] for pattern in (_CLAUSE, _SPACE)]

    def after(self, start: int) -> tuple[int, bool]:
        """Returns where the part that begins at ``start`` ends, and whether that is inside of a clause."""
        length = len(self._text)
        if self._fits(start, length):
            return length, False
        furthest = self._furthest(start, range(start + 1, length))
        least = start + self._least * (furthest - start)
        for inside_clause, ends in enumerate(self._better):
            end = self._furthest(start, ends[bisect_right(ends, start) : bisect_right(ends, furthest + self._limit)])
            if end > max(start, least):
                return end, bool(inside_clause)
        if furthest == start:
            count = len(self._encode(self._text[start]))
            raise DataError(f"character {self._text[start]!r}: has {count} pieces, the model takes {self._limit}")
        return self._between_characters(start, furthest), True

    def _furthest(self, start: int, ends: Sequence[int]) -> int:
        """Returns the last of ``ends`` up to which the text fits, or ``start``; looks at ever longer texts first."""
        reach = 1
        while reach < len(ends) and self._fits(start, ends[reach - 1]):
            reach *= 2
        low = bisect_left(ends, True, reach // 2, min(reach, len(ends)), key=lambda end: not self._fits(start, end))
        return ends[low - 1] if low else start

    def _fits(self, start: int, end: int) -> bool:
        # a longer text is not looked at: it would have to have pieces of 64 characters
        near = end - start <= 64 * self._limit
        return near and len(self._encode(self._text[start:end].strip())) <= self._limit

    def _between_characters(self, start: int, end: int) -> int:
        """Returns the last place up to ``end`` that is not inside of what a reader takes for one character."""
        at = end
        while at > start + 1 and _goes_on(self._text[at - 1], self._text[at]):
            at -= 1
        return at if at > start + 1 or not _goes_on(self._text[start], self._text[start + 1]) else end


def _goes_on(character: str, follower: str) -> bool:
    """Whether two characters are seen as one: a letter and its accent or vowel sign, the parts of an emoji."""
    mark = unicodedata.category(follower).startswith("M") or _CONJOINING.match(follower)
    return bool(mark) or _JOINER in (character, follower)


def _is_layout(space: str) -> bool:
    """Whether white space is more than what stands between any two sentences."""
    return "\n" in space or "\t" in space or len(space) > 1
