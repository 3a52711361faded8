"""Markdown: what markdown-it takes for prose is translated; code, targets of links, front matter and signs stay."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from clearhead.documents.blocks import Block, Break, Document, Span, as_it_is, has_words, joiner, nested
from clearhead.documents.markup import EMPTY, INLINE, markup_document
from clearhead.errors import UsageError

_FRONT = re.compile(r"\A(---|\+\+\+)[^\S\n]*\n(?:.*\n)*?\1[^\S\n]*(?:\n|\Z)")
_SPECIAL = re.compile(r"[\\`*\[\]<|]|(?<!\w)_|_(?!\w)|~(?=~)|&(?=#?\w+;)")
_HEAD = re.compile(r"(?=[#>+=~-])|\d{1,9}(?=[.)](?:\s|$))")
_TASK = re.compile(r"\[[ xX]\]\s+")
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)[^>]*?(/?)>")
_END = re.compile(r"\r\n?|\n")
"""The end of a line, as the parser sees it."""
Place = tuple[int, int]
"""Where something begins, and where it ends."""


def escaped(text: str) -> str:
    """Returns a text as Markdown has it where it is no markup."""
    return _SPECIAL.sub(lambda sign: "\\" + sign[0], text)


def _guarded(text: str) -> str:
    """Returns a paragraph that begins neither a list nor a heading nor a quotation."""
    head = _HEAD.match(text)
    return text if head is None else f"{head[0]}\\{text[head.end() :]}"


def markdown_document(text: str) -> Document:
    """Returns Markdown as a document: a block is a paragraph, a heading, an item, a cell of a table.

    Raises:
        UsageError: markdown-it-py is not installed.
    """
    front = _FRONT.match(text)
    begin = front.end() if front else 0
    body = text[begin:]
    places = _Lines(body)
    parts: list[str | Block] = [text[:begin]] if begin else []
    at = 0
    for token in _parser().parse(body, {}):
        if token.map is None:
            continue
        for found, end, own in places.parts(token):
            if found >= at:
                parts += [body[at:found], *own]
                at = end
    return Document([part for part in [*parts, body[at:]] if part])


def _parser() -> Any:
    """Returns the parser of CommonMark, tables and struck text, whose tokens know where they stand."""
    try:
        from markdown_it import MarkdownIt
    except ModuleNotFoundError as error:
        raise UsageError("--format md takes the package markdown-it-py: pip install markdown-it-py") from error
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable("text_join")
    for rule in parser.inline.ruler.__rules__:
        rule.fn = _placed(rule.name, rule.fn)
    parser.inline.ruler.__compile__()
    return parser


def _placed(name: str, rule: Callable[..., bool]) -> Callable[..., bool]:
    """Returns an inline rule that writes into its tokens where they stand: ``meta["at"]``, and where a label ends."""

    def placed(state: Any, silent: bool) -> bool:
        begin, count = state.pos, len(state.tokens)
        if not rule(state, silent):
            return False
        made, end = [] if silent else state.tokens[count:], state.pos
        if name in ("emphasis", "strikethrough"):  # a text for each sign, which becomes an end of a span later
            for token in reversed(made):
                if end > begin:
                    token.meta["at"] = (end - len(token.content), end)
                    end -= len(token.content)
            return True
        for token in made:
            if token.type != "text":
                token.meta.setdefault("at", (begin, end))
            if name == "link" and token.type == "link_open":
                token.meta.setdefault("label", state.md.helpers.parseLinkLabel(state, begin, True))
        return True

    return placed


class _Lines:
    """The lines of a text, and how far each has been read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.begins = [0, *(match.end() for match in _END.finditer(text))]
        if self.begins[-1] != len(text):
            self.begins.append(len(text))
        self._read = list(self.begins)

    def parts(self, token: Any) -> list[tuple[int, int, Sequence[str | Block]]]:
        """Returns what is to be translated of a token, and where each begins and ends."""
        if token.type == "html_block" and token.level == 0:
            begin, end = self.begins[token.map[0]], self.begins[token.map[1]]
            return [(begin, end, markup_document(self.text[begin:end]).parts)]
        if token.type == "inline" and has_words(token.content):
            return [(begin, end, [block]) for begin, end, block in self._blocks(token)]
        return []

    def _blocks(self, token: Any) -> list[tuple[int, int, Block]]:
        """Returns the blocks of a token, and where each begins and ends; none if it is not in its lines as it is."""
        first, last = token.map
        lines = token.content.split("\n")
        begins = []
        for number, line in zip(range(first, last), lines, strict=False):
            begin = self.text.find(line, self._read[number], self.begins[number + 1])
            if begin < 0:
                return []
            begins.append(begin)
        if len(begins) < len(lines):
            return []
        for number, begin, line in zip(range(first, last), begins, lines, strict=False):
            self._read[number] = begin + len(line)
        return _Inline(self.text, lines, begins, token.children or []).blocks()


class _Inline:
    """The inside of a paragraph: its text, of several lines, and its tokens."""

    def __init__(self, whole: str, lines: list[str], begins: list[int], tokens: list[Any]) -> None:
        self.whole, self.lines, self.begins = whole, lines, begins
        self.content = "\n".join(lines)
        self.starts = [0]
        for line in lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.marks = _Marks(self.content, tokens)
        self.hard = []
        for begin, end in self.marks.hard:
            if any(opened[0] < begin and end < closed[1] for opened, closed, _ in self.marks.spans):
                self.marks.keep((begin, end), " ")
            else:
                self.hard.append((begin, end))

    def place(self, at: int) -> int:
        """Returns where a character of the content stands in the whole text."""
        number = next(number for number, start in enumerate(self.starts[1:]) if at < start)
        return self.begins[number] + at - self.starts[number]

    def blocks(self) -> list[tuple[int, int, Block]]:
        """Returns a block of each stretch between hard breaks."""
        task = _TASK.match(self.content)
        found, begin = [], task.end() if task else 0
        for end, after in [*self.hard, (len(self.content), len(self.content))]:
            if (block := self._block(begin, end)) is not None:
                found.append((self.place(begin), self.place(end), block))
            begin = after
        return found

    def _block(self, begin: int, end: int) -> Block | None:
        """Returns what stands between two places, unless a span goes beyond them or there is nothing to translate."""
        if not has_words(self.content[begin:end]):
            return None
        text, at, where, behind, breaks = "", begin, dict[int, int](), dict[int, str](), list[Break]()
        pieces: list[tuple[int, int, str]] = sorted(
            piece for piece in self.marks.gone if begin <= piece[0] and piece[1] <= end
        )
        for first, last, said in [*pieces, (end, end, "")]:
            text = self._prose(text, at, first, where, breaks)
            where[first] = len(text)
            text += said
            where[last] = len(text)
            # an image between two spaces is not read, and so are not both of them
            at = last + (text.endswith(" ") and not said and first < last < end and self.content[last] == " ")
            behind[first] = self.content[last:at]
        spans = []
        for opened, closed, kept in self.marks.spans:
            if not (begin <= opened[0] and closed[1] <= end):
                continue
            raws = self.content[slice(*opened)], self.content[slice(*closed)]
            span = (where[opened[0]], where[opened[1]]) if kept else (where[opened[1]], where[closed[0]])
            made = Span(*span, raws[0] + behind.get(opened[0], "") * kept, "" if kept else raws[1], kept)
            spans.append((opened[0], closed[1], made))
        raw = self.whole[self.place(begin) : self.place(end)]
        guard = _guarded if begin == 0 and not spans[:1] else as_it_is
        return Block(text, raw, nested(spans), tuple(breaks), escaped, guard).with_addresses()

    def _prose(self, text: str, at: int, end: int, where: dict[int, int], breaks: list[Break]) -> str:
        """Returns the text with what stands between two marks, and notes its line breaks."""
        for line in re.split(r"((?<!\s)[^\S\n]*+\n[^\S\n]*+)", self.content[at:end]):
            after = at + len(line)
            if "\n" in line:
                breaks.append(Break(len(text), self.whole[self.place(at) : self.place(after)]))
                text += joiner(text, self.content[after : after + 1])
            else:
                text += line
            at = after
        return text


class _Marks:
    """What of a content is markup.

    Args:
        content: the inside of a paragraph.
        tokens: of it.
    """

    def __init__(self, content: str, tokens: list[Any]) -> None:
        self.content = content
        self.spans: list[tuple[Place, Place, bool]] = []
        """Where each is opened and closed, and whether it is kept."""
        self.gone: list[tuple[int, int, str]] = []
        """Places that are no prose, and what is read there."""
        self.hard: list[Place] = []
        """Hard breaks."""
        self._opened: list[tuple[str, Place, Place | None]] = []
        """What ends each, where it is opened, and where it is closed if that is known."""
        after = -1
        for token in tokens:
            at: Place | None = token.meta.get("at")
            if at is not None and at[0] >= after:
                after = self._take(token, at)
        for _, begin, _ in self._opened:
            self.keep(begin, "")

    def keep(self, at: Place, said: str) -> None:
        """Notes something that is not translated, and how it reads."""
        self.spans.append((at, at, True))
        self.gone.append((*at, said))

    def _take(self, token: Any, at: Place) -> int:
        """Takes a token; returns up to where others are a part of it."""
        match token.type:
            case "em_open" | "strong_open" | "s_open":  # the second of two signs stands for both
                begin = at[1] - len(token.markup)
                self._opened.append((token.type.replace("open", "close"), (begin, at[1]), None))
            case "link_open" if "label" in token.meta:
                self._opened.append(("link_close", (at[0], at[0] + 1), (token.meta["label"], at[1])))
            case "link_open":  # an address in angles
                self.keep(at, self.content[at[0] + 1 : at[1] - 1])
                return at[1]
            case "link_close" | "em_close" | "strong_close" | "s_close":
                self._close(token.type, (at[0], at[0] + len(token.markup)))
            case "code_inline" | "image":
                self.keep(at, token.content if token.type == "code_inline" else "")
            case "html_inline":
                self._tag(token.content, at)
            case "text_special":
                self.gone.append((*at, token.content))
            case "hardbreak":
                self.hard.append((len(self.content[: at[0]].rstrip(" ")), at[1]))
        return -1

    def _close(self, name: str, at: Place) -> None:
        if name not in [each for each, _, _ in self._opened]:
            self.keep(at, "")
            return
        while (opened := self._opened.pop())[0] != name:
            self.keep(opened[1], "")
        closed = opened[2] or at
        self.spans.append((opened[1], closed, False))
        self.gone += [(*opened[1], ""), (*closed, "")]

    def _tag(self, raw: str, at: Place) -> None:
        """Notes a tag: a span where it has its end, else something that stays."""
        tag = _TAG.fullmatch(raw)
        if tag is None or tag[3] or tag[2].lower() not in INLINE or tag[2].lower() in EMPTY:
            self.keep(at, "")
        elif tag[1]:
            self._close(f"/{tag[2].lower()}", at)
        else:
            self._opened.append((f"/{tag[2].lower()}", at, None))
