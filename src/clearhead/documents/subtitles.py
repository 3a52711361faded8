"""Subtitles of SubRip: numbers and times stay, sentences go through lines and cues."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from clearhead.documents.blocks import Block, Break, Document, joiner
from clearhead.documents.markup import inline
from clearhead.documents.plain import ENDS

MOST_CUES = 4
"""That a sentence may go through."""
_SAID = r"(?!(\d+[ \t]*\r?\n)?[^\n]*-->)[^\n]*\S[^\n]*"
CUE = re.compile(rf"(?<![\d:,.])(\d++[ \t]*+\r?\n)?[\d:,.]++[ \t]*+-->[^\n]*\n(?P<text>{_SAID}(\n{_SAID})*)", re.ASCII)
_LINE_END = re.compile(r"\n|\\N")
_TAG = r"(?:<[^<>\n]*>|\{[^}\n]*\})[^\S\n]*"
_HEAD = re.compile(
    rf"[^\S\n]*(?:\{{\\(?:an?\d|pos|move|org)[^}}\n]*\}}[^\S\n]*)*(?P<dash>(?:{_TAG})*(?:[-‐–—]++(?!\d)|>>|♪)\s*)?"
)
"""What stands before what is said: tags for the place of the whole cue; a dash, which is no minus, with its tags."""


@dataclass(frozen=True)
class Spoken:
    """What one speaker says in a cue."""

    before: str
    """What stands between it and the one before."""
    raw: str
    bullet: bool
    """Whether a dash begins it."""
    begins_cue: bool

    @property
    def is_marked(self) -> bool:
        """Whether it has tags, which end in their cue."""
        return "<" in self.raw or "{" in self.raw

    @functools.cached_property
    def block(self) -> Block | None:
        """It alone; None without words."""
        return inline(self.raw, entities=False, breaks=True)


def subtitles_document(text: str) -> Document:
    """Returns subtitles as a document: a block is what one speaker says, in one cue or in several up to a full stop."""
    parts: list[str | Block] = []
    group: list[Spoken] = []
    texts, after = spoken(text)
    for each in texts:
        if group and _goes_on(group, each):
            group.append(each)
            continue
        parts += _written(group)
        group = [each]
    return Document([*parts, *_written(group), after])


def spoken(text: str) -> tuple[list[Spoken], str]:
    """Returns what is said, and what stands behind the last of it."""
    found, end = [], 0
    for cue in CUE.finditer(text):
        at = cue.start("text")
        for number, (begin, last, bullet) in enumerate(_speakers(cue["text"])):
            found.append(Spoken(text[end : at + begin], text[at + begin : at + last], bullet, number == 0))
            end = at + last
    return found, text[end:]


def _speakers(text: str) -> Iterator[tuple[int, int, bool]]:
    """Cuts the text of a cue before lines with a dash; gives where each says what, and whether a dash begins it."""
    later = (line.end() for line in _LINE_END.finditer(text))
    begins = [0, *(begin for begin in later if _head(text, begin, len(text))["dash"])]
    for begin, end in pairwise([*begins, len(text)]):
        head = _head(text, begin, end)
        said = text[head.end() : end].rstrip()
        while said.endswith("\\N"):
            said = said.removesuffix("\\N").rstrip()
        yield head.end(), head.end() + len(said), bool(head["dash"])


def _head(text: str, begin: int, end: int) -> re.Match[str]:
    found = _HEAD.match(text, begin, end)
    assert found is not None  # all of it may be missing
    return found


def _goes_on(group: list[Spoken], after: Spoken) -> bool:
    """Whether a sentence goes on in the next cue."""
    said = group[-1]
    if after.bullet or not after.begins_cue or after.is_marked or said.is_marked or len(group) >= MOST_CUES:
        return False
    return after.block is not None and said.block is not None and not ENDS.search(said.raw)


def _written(group: list[Spoken]) -> list[str | Block]:
    if not group:
        return []
    if len(group) == 1:
        return [group[0].before, group[0].block or group[0].raw]
    text, raw, breaks = "", "", list[Break]()
    for each in group:
        block = each.block
        assert block is not None
        if text:
            breaks.append(Break(len(text), each.before, must=True))
            text, raw = text + joiner(text, block.text), raw + each.before
        breaks += [Break(len(text) + own.at, own.raw) for own in block.breaks]
        text, raw = text + block.text, raw + block.raw
    return [group[0].before, Block(text, raw, breaks=tuple(breaks)).with_addresses()]
