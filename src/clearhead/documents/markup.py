"""HTML and XML: tags and what is no language stay as they are; prose is translated by block, with its tags."""

import functools
import html
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Literal

from clearhead.documents.blocks import Block, Break, Document, Span, as_it_is, has_words, joiner, nested

KEPT = frozenset({"script", "style", "code", "kbd", "samp", "template", "pre", "textarea", "svg", "math"})
"""Elements whose text is no language."""
INLINE = frozenset(
    "a abbr b bdi bdo big cite code data del dfn em font i img ins kbd label mark q s samp small span strike strong "
    "sub sup time tt u var wbr".split()
)
"""Elements that stand inside of a sentence."""
EMPTY = frozenset("area base br col embed hr img input link meta param source track wbr".split())
"""Elements without an end."""
WRITTEN = re.compile(r"&#?\w+;?|.", re.DOTALL)
"""A character, or what stands for one."""
_ENTITY = re.compile(r"&\w+;")
_XML = re.compile(
    r"<!--|<!\[CDATA\[|<\?|<![A-Z](?:[^\[\]<>]|\[[^\]]*+\])*+>"
    r"""|<(?P<closes>/)?(?P<name>(?!\d)[\w:][\w:.-]*+)(?:[^<>"'/]|"[^"<]*+"|'[^'<]*+'|/(?!>))*+(?P<empty>/)?>""",
    re.DOTALL,
)
_CLOSES = {"<!--": "-->", "<![CDATA[": "]]>", "<?": "?>"}
_NOT = re.compile(r"""\stranslate\s*=\s*["']no["']""")
_ROWS = ("end", "start")
_BRACED = re.compile(r"(\{[^}\n]*\}|\\N)")
"""What subtitles have besides the tags of HTML: tags in braces, and a line break that is written."""
_STYLE = re.compile(r"\{(?:(?P<end>/)?[bius]|\\[bius](?:1|(?P<off>0)))\}", re.IGNORECASE)
"""Tags in braces that belong together, one before and one behind what they are about."""


def _spaces(signs: Iterable[str]) -> list[str]:
    """Returns the first signs that show nothing: spaces, ``&nbsp;``, characters that HTML does not have."""
    return list(itertools.takewhile(lambda sign: not html.unescape(sign).strip(), signs))


def _has_words(raw: str) -> bool:
    return has_words(html.unescape(raw))


escaped = functools.partial(html.escape, quote=False)
"""Returns a text as HTML has it."""


def markup_document(source: str) -> Document:
    """Returns HTML as a document: a block is what stands between two tags of blocks, or a line of its own by ``br``."""
    parts = _Reader(source).parts
    return _document(parts, [bool(part.tag) and part.tag not in INLINE for part in parts])


def xml_document(
    source: str,
    *,
    kept: Collection[str] = (),
    parting: Collection[str] = (),
    joining: Collection[str] = (),
    outline: bool = True,
) -> Document:
    """Returns XML as a document: a block is what stands between two tags that part sentences.

    Args:
        source: XML, whole or a piece of it. Names of elements, in small letters, are:
        kept: whose text is not translated.
        parting: whose tags part sentences.
        joining: whose tags do not.
        outline: whether others do that no words stand beside, in the same element or in one around it; and all of a
            name of which one follows another at once, and ``br``.
    """
    parts = list(_xml_parts(source, kept))
    pairs = ((before.tag, after.tag) for before, after in pairwise(parts) if (before.kind, after.kind) == _ROWS)
    rows = {"br", *(before for before, after in pairs if before == after)} if outline else set[str]()
    names = {*parting, *(rows - set(joining))}
    cuts = [
        part.kind != "kept"
        and bool(part.tag)
        and (part.tag in names or (outline and part.tag not in joining and not worded))
        for part, worded in zip(parts, _beside_words(parts), strict=True)
    ]
    return _document(parts, cuts)


def _xml_parts(source: str, kept: Collection[str]) -> "Iterator[_Part]":
    """Cuts XML where tags begin and end; an element whose text is kept is one part."""
    at, inside, begun = 0, list[str](), 0
    for begin, end, match in _xml_tags(source):
        name, closes, empty = (match["name"] or "").lower(), match["closes"], match["empty"]
        if not inside and at < begin:
            yield _Part(source[at:begin], "text")
        at = end
        keeps = bool(name) and not closes and (bool(inside) or name in kept or bool(_NOT.search(match[0])))
        if keeps and not empty:
            begun = begun if inside else begin
            inside.append(name)
        elif inside:
            if closes and name in inside:
                _leave(inside, name)
            if not inside:
                yield _Part(source[begun:at], "kept", name)
        else:
            yield _Part(source[begin:end], "end" if closes else "start" if name and not empty else "other", name)
    if inside:
        yield _Part(source[begun:at], "kept", inside[0])
    if at < len(source):
        yield _Part(source[at:], "text")


def _leave(inside: list[str], tag: str) -> None:
    """Ends the last of the elements of this name that are open, with those inside of it."""
    while inside.pop() != tag:
        pass


def _xml_tags(source: str) -> Iterator[tuple[int, int, re.Match[str]]]:
    """Yields where each tag, comment and the like begins and ends."""
    at, never = 0, set[str]()
    while (match := _XML.search(source, at)) is not None:
        at, close = match.end(), _CLOSES.get(match[0])
        if close is not None:
            end = -1 if close in never else source.find(close, at)
            if end < 0:
                never.add(close)
                continue
            at = end + len(close)
        yield match.start(), at, match


def _beside_words(parts: "list[_Part]") -> list[bool]:
    """Returns of each part whether words stand in the element that it is in, or in one around that."""
    around, worded = [-1], [False]  # of each element: the one that it is in, and whether it has words of its own
    inside, owners, opened = [(0, "")], list[int](), Counter[str]()
    for part in parts:
        if part.kind == "end" and opened[part.tag]:
            while (tag := inside.pop()[1]) != part.tag:
                opened[tag] -= 1
            opened[part.tag] -= 1
        owner = inside[-1][0]
        owners.append(owner)
        worded[owner] |= part.is_text and _has_words(part.raw)
        if part.kind == "start":
            inside.append((len(around), part.tag))
            opened[part.tag] += 1
            around.append(owner)
            worded.append(False)
    for element in range(1, len(around)):
        worded[element] |= worded[around[element]]
    return [worded[owner] for owner in owners]


def _document(parts: "list[_Part]", cuts: list[bool]) -> Document:
    """Returns a document of parts, some of which stand between its blocks."""
    made: list[str | Block] = []
    run: list[_Part] = []
    for part, cut in zip(parts, cuts, strict=True):
        if not cut:
            run.append(part)
            continue
        made += [*_block(run, entities=True, breaks=False), part.raw]
        run = []
    return Document([*made, *_block(run, entities=True, breaks=False)])


def inline(source: str, *, entities: bool, breaks: bool) -> Block | None:
    """Returns one block of text with tags, whichever they are; None if there are no words.

    Args:
        source: the text.
        entities: whether characters are written as ``&amp;``, as in HTML; in subtitles they are not, and tags may stand
            in braces.
        breaks: whether line breaks are to be kept as such.
    """
    found = _block(_parts(source, entities=entities), entities=entities, breaks=breaks, whole=True)
    return next((each for each in found if isinstance(each, Block)), None)


def _parts(source: str, *, entities: bool) -> "list[_Part]":
    parts = _Reader(source).parts
    return parts if entities else [own for part in parts for own in (_braced(part.raw) if part.is_text else [part])]


def _braced(raw: str) -> "Iterator[_Part]":
    """Cuts a text of subtitles at its tags in braces and its written line breaks."""
    for number, sign in enumerate(_BRACED.split(raw)):
        if number % 2 == 0:
            if sign:
                yield _Part(sign, "text")
        elif (style := _STYLE.fullmatch(sign)) is not None:
            name = sign.strip("{}/\\10").lower()
            yield _Part(sign, "end" if style["end"] or style["off"] else "start", f"{{{name}}}")
        else:
            yield _Part(sign, "break" if sign == "\\N" else "other")


def _block(parts: "list[_Part]", *, entities: bool, breaks: bool, whole: bool = False) -> list[str | Block]:
    """Returns parts that belong together as a block, with the white space around it unless that is to be in it."""
    raw = "".join(part.raw for part in parts)
    if not any(part.is_text and _has_words(part.raw) for part in parts):
        return [raw] if raw else []
    before = after = ""
    if not whole and parts[0].is_text:
        before = "".join(_spaces(WRITTEN.findall(parts[0].raw)))
    if not whole and parts[-1].is_text:
        after = "".join(reversed(_spaces(reversed(WRITTEN.findall(parts[-1].raw)))))
    gathered = _Gathered(parts, entities, breaks)
    for number, part in enumerate(parts):
        begin = len(before) if number == 0 else 0
        end = len(part.raw) - (len(after) if number == len(parts) - 1 else 0)
        gathered.take(part, part.raw[begin:end])
    block = gathered.block(raw[len(before) : len(raw) - len(after)])
    return [each for each in (before, block, after) if each]


class _Gathered:
    """A block that is read part by part."""

    def __init__(self, parts: "list[_Part]", entities: bool, breaks: bool) -> None:
        self.parts, self.entities, self.breaks = parts, entities, breaks
        self.text = ""
        self.spans: list[tuple[int, int, Span]] = []
        """With the numbers of the parts that open and close each."""
        self.lines: list[Break] = []
        self.open: list[tuple[int, str, int, str]] = []
        """Number, tag, place in the text, and tag as it is written."""
        self.opened = Counter[str]()
        self.count = 0

    def take(self, part: "_Part", raw: str) -> None:
        """Takes the next part, as much of it as ``raw``."""
        at = len(self.text)
        self.count += 1
        match part.kind:
            case "text":
                self._read(raw)
            case "kept":
                said = " ".join(html.unescape(re.sub("<[^<>]*>", "", raw)).split())
                self.text += said
                self._note(self.count, Span(at, len(self.text), raw, kept=True))
            case "start":
                self.open.append((self.count, part.tag, at, raw))
                self.opened[part.tag] += 1
            case "break" if self.text:
                self._end_line(raw, "")
            case "end" if self.opened[part.tag]:
                while (begun := self.open.pop())[1] != part.tag:
                    self.opened[begun[1]] -= 1
                    self._note(begun[0], Span(begun[2], begun[2], begun[3]))
                self.opened[part.tag] -= 1
                self.spans.append((begun[0], self.count, Span(begun[2], at, begun[3], raw)))
            case _:
                self._note(self.count, Span(at, at, raw))

    def block(self, raw: str) -> Block:
        """Returns what was read, which is written as ``raw``."""
        for number, _, at, tag in self.open:
            self._note(number, Span(at, at, tag))
        escape = escaped if self.entities else as_it_is
        return Block(self.text, raw, nested(self.spans), tuple(self.lines), escape).with_addresses()

    def _note(self, number: int, span: Span) -> None:
        self.spans.append((number, number, span))

    def _read(self, raw: str) -> None:
        signs = re.findall(r"\s+|&#?\w+;?|[^\s&]+|&" if self.entities else r"\s+|\S+", raw)
        for number, sign in enumerate(signs, 1):
            plain = html.unescape(sign) if self.entities else sign
            if not plain.isspace():
                if self.entities and plain == sign and _ENTITY.fullmatch(sign):  # one that only its document knows
                    self._note(self.count, Span(len(self.text), len(self.text) + len(sign), sign, kept=True))
                self.text += plain
                continue
            if self.text[-1:] in ("", " "):
                self._add_space(sign)
            if self.breaks and "\n" in sign and self.text:
                self._end_line(sign, "".join(signs[number : number + 1]))
            else:
                self.text += " " if self.text and not self.text.endswith(" ") else ""

    def _end_line(self, sign: str, after: str) -> None:
        """Notes a line break, before ``after`` or the next text."""
        texts = (part.raw.strip() for part in self.parts[self.count :] if part.is_text)
        self.lines.append(Break(len(self.text), sign))
        self.text += "" if self.text.endswith(" ") else joiner(self.text, after or next(filter(None, texts), ""))

    def _add_space(self, sign: str) -> None:
        """Puts the second of two spaces, as around an image, behind what stands between them."""
        if self.spans and self.spans[-1][0] == self.count - 1:
            first, last, span = self.spans[-1]
            if span.begin == span.end and not span.closing:
                self.spans[-1] = first, last, replace(span, opening=span.opening + sign)


@dataclass(frozen=True)
class _Part:
    """A tag, or what stands between two."""

    raw: str
    kind: Literal["text", "start", "end", "other", "kept", "break"]
    tag: str = ""
    """Of an element, as which the part stands; empty for text and for what is seen by nobody."""

    @property
    def is_text(self) -> bool:
        """Whether it is text that may be translated."""
        return self.kind == "text"


class _Reader(HTMLParser):
    """Cuts a text where tags begin and end; elements whose text is kept are one part each."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=False)
        self._begins: list[tuple[int, Literal["text", "start", "end", "other", "kept"], str]] = []
        self._inside: list[str] = []
        """Elements around whose text is kept."""
        self._lines = [0]
        for line in source.split("\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)
        last = source.rfind(">") + 1
        self.feed(source[:last])
        self.close()
        if last < len(source):  # behind the last sign that ends a tag there is none
            self._note_at(last, "text", "")
        first: list[tuple[int, Literal["text", "start", "end", "other", "kept"], str]] = [(0, "other", "")]
        begins = [*(first if not self._begins or self._begins[0][0] else []), *self._begins]
        ends = [*(begin for begin, _, _ in begins[1:]), len(source)]
        cut = zip(begins, ends, strict=True)
        self.parts = [_Part(source[begin:end], kind, tag) for (begin, kind, tag), end in cut if begin < end]

    def _note(self, kind: Literal["text", "start", "end", "other", "kept"], tag: str = "") -> None:
        line, column = self.getpos()
        self._note_at(self._lines[line - 1] + column, kind, tag)

    def _note_at(self, begin: int, kind: Literal["text", "start", "end", "other", "kept"], tag: str) -> None:
        if self._inside:
            return
        if not (kind == "text" and self._begins and self._begins[-1][1] == "text"):
            self._begins.append((begin, kind, tag))  # data and entities in a row are one text

    def parse_html_declaration(self, i: int) -> int:
        """Reads what begins with ``<!``: what is no declaration, as ``<![a*``, is a comment, as in browsers."""
        try:
            return super().parse_html_declaration(i)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        keeps = tag not in EMPTY and (tag in KEPT or ("translate", "no") in attrs)
        self._note("kept" if keeps else "other" if tag in EMPTY else "start", tag)
        if tag not in EMPTY and (self._inside or keeps):
            self._inside.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note("other", tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._inside:
            self._note("end", tag)
        else:
            _leave(self._inside, tag)

    def handle_data(self, data: str) -> None:
        self._note("text")

    def handle_entityref(self, name: str) -> None:
        self._note("text")

    def handle_charref(self, name: str) -> None:
        self._note("text")

    def handle_comment(self, data: str) -> None:
        self._note("other")

    def handle_decl(self, decl: str) -> None:
        self._note("other", "!")

    def handle_pi(self, data: str) -> None:
        self._note("other")

    def unknown_decl(self, data: str) -> None:
        self._note("other")
