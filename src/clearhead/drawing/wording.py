"""Texts of the program in the reader's language, and how they wrap: long words at their joints, Chinese anywhere."""

import html
import re
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.containers import Lines
from rich.text import Text

from clearhead.messages import Prose, localized, translated

JOINTS = (r"[^/]*/+|[^/]+", r"[^.]*\.+|[^.]+", r"[^_]*_+|[^_]+", r"[^A-Z]+|[A-Z]+[^A-Z]*")
"""Patterns of the parts of a word: cut after slashes; parts still too long after dots, underscores, before capitals."""
_CJK = r"\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_UNITS = re.compile(rf"[（《“]*(?:[{_CJK}]|[^\s{_CJK}（《“]+)[，。；：？！、）》”…]*\s*|\s+|.")
"""What a line of Chinese consists of: characters and words of other scripts, each with its punctuation."""
LONG = 20  # longer words on a page may be cut, in characters


class Words(Text):
    """Text in a terminal that wraps long words as this module says."""

    def wrap(self, *args: Any, **options: Any) -> Lines:
        """Wraps the text as ``rich.text.Text`` does, after cutting words that are too wide for a line."""
        width = options["width"] if "width" in options else args[1]
        find = chinese_cuts if re.search(f"[{_CJK}]", self.plain) else cuts_of
        cuts = [] if options.get("no_wrap") else find(self.plain, width)
        if not cuts:
            return super().wrap(*args, **options)
        return Text("\n", style=self.style).join(self.divide(cuts)).wrap(*args, **options)


def padded(text: str, width: int) -> str:
    """Returns a text filled with spaces to ``width`` columns of a terminal; a Chinese character takes two."""
    return text + " " * (width - cell_len(text))


def runs(line: str) -> list[tuple[int, str, bool]]:
    """Returns the parts of a line in which all letters are wide or none is: first column, text, whether it is wide."""
    parts, column = list[tuple[int, str, bool]](), 0
    for wide, letters in groupby(line, lambda letter: cell_len(letter) > 1):
        run = "".join(letters)
        if not run.isspace():
            parts.append((column, run, wide))
        column += cell_len(run)
    return parts


def cuts_of(text: str, width: int) -> list[int]:
    """Returns the places at which to break words that are wider than ``width`` columns."""
    cuts = []
    for word in re.finditer(r"\S+", text):
        at = word.start()
        for line in _filled(parts_of(word[0], width, cell_len), width):
            at += len(line)
            cuts.append(at)
        cuts.pop()  # the end of the word is not a cut
    return cuts


def chinese_cuts(text: str, width: int) -> list[int]:
    """Returns the places at which to break a text with Chinese in it, so that lines are ``width`` columns at most."""
    cuts, used = [], 0
    for unit in _UNITS.finditer(text):
        if used and used + cell_len(unit[0].rstrip()) > width:
            cuts.append(unit.start())
            used = 0
        used = 0 if "\n" in unit[0] else used + cell_len(unit[0])
    return cuts


def parts_of(word: str, most: int, size: Callable[[str], int], joints: Sequence[str] = JOINTS) -> list[str]:
    """Divides a word into parts until none is longer than ``most`` or no joint is left; numbers stay whole."""
    if size(word) <= most or not joints or not any(map(str.isalpha, word)):
        return [word]
    pieces = re.findall(joints[0], word)
    return [part for piece in pieces for part in parts_of(piece, most, size, joints[1:])]


def escaped(text: str) -> str:
    """Returns text as HTML in which long words may be cut at their joints."""
    words = re.split(r"(\s+)", text)
    return "".join("<wbr>".join(map(html.escape, parts_of(word, LONG, len))) for word in words)


def worded(text: str) -> str:
    """Returns a text of the program as HTML in the user's language; a page's switch shows it in the other one."""
    chinese = translated(text)
    if chinese == text:
        return escaped(text)
    both = f'data-en="{html.escape(text)}" data-zh="{html.escape(chinese)}"'
    return f"<span {both}>{escaped(localized(text))}</span>"


def cell(text: str) -> str:
    """Returns what a cell of a table shows: ``Prose`` in the user's language, values as they are."""
    return localized(text) if isinstance(text, Prose) else text


def cell_html(text: str) -> str:
    """Returns the same as HTML."""
    return worded(text) if isinstance(text, Prose) else escaped(text)


def _filled(parts: list[str], width: int) -> list[str]:
    """Fills lines with the parts of a word; a part wider than a line is cut where the line ends."""
    lines = [""]
    for part in (chopped for whole in parts for chopped in chop_cells(whole, max(width, 1))):
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return lines
