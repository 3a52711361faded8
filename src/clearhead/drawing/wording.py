"""Long names in narrow places: a word that is wider than its line is cut at its joints, not inside a part of it."""

import html
import re
from collections.abc import Callable, Sequence
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.containers import Lines
from rich.text import Text

JOINTS = (r"[^/]*/+|[^/]+", r"[^.]*\.+|[^.]+", r"[^_]*_+|[^_]+", r"[^A-Z]+|[A-Z]+[^A-Z]*")
"""How a word is cut: behind slashes; what is still too long behind dots, behind underscores, before capitals."""
LONG = 20  # letters of a word on a page, from which it may be cut


class Words(Text):
    """Text in a terminal."""

    def wrap(self, *args: Any, **options: Any) -> Lines:
        """See ``rich.text.Text``."""
        width = options["width"] if "width" in options else args[1]
        cuts = [] if options.get("no_wrap") else cuts_of(self.plain, width)
        if not cuts:
            return super().wrap(*args, **options)
        return Text("\n", style=self.style).join(self.divide(cuts)).wrap(*args, **options)


def cuts_of(text: str, width: int) -> list[int]:
    """Returns the places at which words that are wider than ``width`` columns go on in the next line."""
    cuts = []
    for word in re.finditer(r"\S+", text):
        at = word.start()
        for line in _filled(parts_of(word[0], width, cell_len), width):
            at += len(line)
            cuts.append(at)
        cuts.pop()  # the end of the word is none
    return cuts


def parts_of(word: str, most: int, size: Callable[[str], int], joints: Sequence[str] = JOINTS) -> list[str]:
    """Takes a word apart, as far as its parts are longer than ``most``; numbers stay whole."""
    if size(word) <= most or not joints or not any(map(str.isalpha, word)):
        return [word]
    return [part for one in re.findall(joints[0], word) for part in parts_of(one, most, size, joints[1:])]


def escaped(text: str) -> str:
    """Returns text as HTML in which long words may be cut at their joints."""
    words = re.split(r"(\s+)", text)
    return "".join("<wbr>".join(map(html.escape, parts_of(word, LONG, len))) for word in words)


def _filled(parts: list[str], width: int) -> list[str]:
    """Joins parts of a word as long as there is room; one without joints is cut where the line ends."""
    lines = [""]
    for part in (piece for whole in parts for piece in chop_cells(whole, max(width, 1))):
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return lines
