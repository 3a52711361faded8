"""Text with markup: its tags stay as they are, and what stands between them is translated."""

import html
import itertools
import re
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser

KEPT = frozenset({"script", "style", "code", "kbd", "samp", "template"})
"""Elements whose text is no language."""
EMPTY = frozenset("area base br col embed hr img input link meta param source track wbr".split())
"""Elements without an end."""
SIGN = re.compile(r".", re.DOTALL)
WRITTEN = re.compile(r"&#?\w+;?|.", re.DOTALL)
"""A character, or what stands for one."""


class Markup:
    """A text and its parts.

    Args:
        source: HTML, whole or a piece of it, well formed or not.
        entities: whether characters are written as ``&amp;``, as in HTML, which subtitles are not.
    """

    def __init__(self, source: str, *, entities: bool = True) -> None:
        self.entities = entities
        self._parts = _Reader(source).parts
        self._places = [place for place, (raw, is_text) in enumerate(self._parts) if is_text and _has_words(raw)]

    @property
    def texts(self) -> list[str]:
        """What is to be translated, without space around it."""
        raws = [self._parts[place][0] for place in self._places]
        return [(html.unescape(raw) if self.entities else raw).strip() for raw in raws]

    def having(self, texts: Sequence[str]) -> str:
        """Returns the whole with other texts in the places of ``texts``."""
        parts = [raw for raw, _ in self._parts]
        for place, text in zip(self._places, texts, strict=True):
            signs = (WRITTEN if self.entities else SIGN).findall(parts[place])
            begin, end = "".join(_spaces(signs)), "".join(reversed(_spaces(reversed(signs))))
            parts[place] = begin + (html.escape(text, quote=False) if self.entities else text) + end
        return "".join(parts)


def _spaces(signs: Iterable[str]) -> list[str]:
    """Returns the first signs that show nothing: spaces, ``&nbsp;``, characters that HTML does not have."""
    return list(itertools.takewhile(lambda sign: not html.unescape(sign).strip(), signs))


def _has_words(raw: str) -> bool:
    return any(character.isalpha() for character in html.unescape(raw))


class _Reader(HTMLParser):
    """Cuts a text where tags begin and end: ``parts`` are its pieces, each with whether it is text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=False)
        self._begins: list[tuple[int, bool]] = []
        self._inside: list[str] = []
        """Elements around whose text is kept."""
        self._lines = [0]
        for line in source.split("\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)
        self.feed(source)
        self.close()
        begins = [(0, False), *self._begins, (len(source), False)]
        self.parts = [(source[begin:end], is_text) for (begin, is_text), (end, _) in itertools.pairwise(begins)]

    def _note(self, *, is_text: bool) -> None:
        line, column = self.getpos()
        begin = self._lines[line - 1] + column
        is_text = is_text and not self._inside
        if not (is_text and self._begins and self._begins[-1][1]):  # data and entities in a row are one text
            self._begins.append((begin, is_text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(is_text=False)
        if tag not in EMPTY and (self._inside or tag in KEPT or ("translate", "no") in attrs):
            self._inside.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(is_text=False)

    def handle_endtag(self, tag: str) -> None:
        self._note(is_text=False)
        if tag in self._inside:
            del self._inside[len(self._inside) - 1 - self._inside[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        self._note(is_text=True)

    def handle_entityref(self, name: str) -> None:
        self._note(is_text=True)

    def handle_charref(self, name: str) -> None:
        self._note(is_text=True)

    def handle_comment(self, data: str) -> None:
        self._note(is_text=False)

    def handle_decl(self, decl: str) -> None:
        self._note(is_text=False)

    def handle_pi(self, data: str) -> None:
        self._note(is_text=False)

    def unknown_decl(self, data: str) -> None:
        self._note(is_text=False)
