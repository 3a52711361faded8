"""Subtitles of SubRip: numbers and times stay, sentences go through lines and cues."""

import functools
import re
from dataclasses import dataclass

from clearhead.documents.blocks import Block, Break, Document, joiner
from clearhead.documents.markup import inline
from clearhead.documents.plain import ENDS

MOST_CUES = 4
"""That a sentence may go through."""
_SAID = r"(?!(\d+[ \t]*\r?\n)?[^\n]*-->)[^\n]*\S[^\n]*"
CUE = re.compile(rf"(?<![\d:,.])(\d++[ \t]*+\r?\n)?[\d:,.]++[ \t]*+-->[^\n]*\n(?P<text>{_SAID}(\n{_SAID})*)", re.ASCII)
_DASH = re.compile(r"\s*(?:[-‐–—]\s*|>>\s*|♪\s*)")


@dataclass(frozen=True)
class _Text:
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
    group: list[_Text] = []
    texts, after = _texts(text)
    for each in texts:
        if group and _goes_on(group, each):
            group.append(each)
            continue
        parts += _written(group)
        group = [each]
    return Document([*parts, *_written(group), after])


def _texts(text: str) -> tuple[list[_Text], str]:
    """Returns what is said, and what stands behind the last of it."""
    found, end = [], 0
    for cue in CUE.finditer(text):
        at = cue.start("text")
        speakers = _speakers(cue["text"])
        for number, (dash, said) in enumerate(speakers):
            begin = at + len(dash)
            found.append(_Text(text[end:begin], said, bool(dash.strip()), number == 0))
            end = begin + len(said)
            at = end
    return found, text[end:]


def _speakers(text: str) -> list[tuple[str, str]]:
    """Cuts the text of a cue where lines begin with a dash; gives what stands before each, and what it says."""
    if not all(_DASH.match(line) for line in text.split("\n")) or "\n" not in text:
        dash = _DASH.match(text)
        begin = dash.end() if dash else 0
        return [(text[:begin], text[begin:].rstrip("\r"))]
    cut, before = [], ""
    for line in text.splitlines(keepends=True):
        dash = _DASH.match(line)
        begin = dash.end() if dash else 0
        said = line[begin:].rstrip()
        cut.append((before + line[:begin], said))
        before = line[begin + len(said) :]
    return cut


def _goes_on(group: list[_Text], after: _Text) -> bool:
    """Whether a sentence goes on in the next cue."""
    said = group[-1]
    if after.bullet or not after.begins_cue or after.is_marked or said.is_marked or len(group) >= MOST_CUES:
        return False
    return after.block is not None and said.block is not None and not ENDS.search(said.raw)


def _written(group: list[_Text]) -> list[str | Block]:
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
    return [group[0].before, Block(text, raw, breaks=tuple(breaks))]
