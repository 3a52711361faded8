"""Plain text: paragraphs whose lines are one sentence after another, blank lines, bullets."""

import re
from dataclasses import dataclass
from itertools import pairwise

from clearhead.documents.blocks import Block, Break, Document, has_words, is_wide, joiner

NARROWEST = 40
"""Columns of a line that goes on in the next: shorter ones are a line each, as in lists, addresses and poems."""
_BULLET = re.compile(r"(?:[-*+•‣◦–—#>]+|\(?\d{1,3}[.)]|\(?[A-Za-z][.)])[^\S\n]+")
ENDS = re.compile(r"[.!?…。！？；;:：؟।။።][\"'”’»)\]）」』】*_]*\s*$")
"""The end of a sentence, as a line may have it."""


@dataclass(frozen=True)
class _Line:
    before: str
    """White space and bullet."""
    body: str
    after: str
    """White space and the line's end."""
    bullet: bool


def plain_document(text: str) -> Document:
    """Returns a plain text as a document: a block a line, or one of several lines that a sentence goes through."""
    parts: list[str | Block] = []
    group: list[_Line] = []
    for line in _lines(text):
        if group and _goes_on(group[-1], line):
            group.append(line)
            continue
        parts += _written(group)
        group = [line]
    return Document([*parts, *_written(group)])


def _lines(text: str) -> list[_Line]:
    lines = []
    for raw in re.findall(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+", text):
        body = raw.strip()
        begin = raw.find(body)
        before, after = raw[:begin], raw[begin + len(body) :]
        bullet = _BULLET.match(body)
        if bullet is not None:
            before, body = before + bullet[0], body[bullet.end() :]
        lines.append(_Line(before, body, after, bullet is not None))
    return lines


def _goes_on(line: _Line, after: _Line) -> bool:
    """Whether a sentence of one line goes on in the next."""
    if after.bullet or not has_words(after.body) or not has_words(line.body):
        return False
    alike = line.bullet or line.before == after.before
    return alike and width(line.before + line.body) >= NARROWEST and not ENDS.search(line.body)


def width(text: str) -> int:
    """Returns how many columns a text takes."""
    return len(text) + sum(map(is_wide, text))


def _written(group: list[_Line]) -> list[str | Block]:
    if not group:
        return []
    first, last = group[0], group[-1]
    if not has_words(first.body):
        return [first.before + first.body + first.after]
    text, raw, breaks = first.body, first.body, []
    for line, after in pairwise(group):
        between = line.after + after.before
        breaks.append(Break(len(text), between))
        text += joiner(line.body, after.body) + after.body
        raw += between + after.body
    return [first.before, Block(text, raw, breaks=tuple(breaks)).with_addresses(), last.after]
