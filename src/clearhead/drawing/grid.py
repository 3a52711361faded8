"""A matrix of numbers as a heat map with its numbers, below and above 0 in two colours."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from clearhead.brief import Brief
from clearhead.drawing.heatmap import shade
from clearhead.drawing.maps import name_ticks, shortened
from clearhead.drawing.report import Note, Part
from clearhead.drawing.wording import Words, cell, cell_html, worded
from clearhead.messages import localized

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from rich.console import RenderableType

ABOVE, BELOW = "50,102,168", "180,85,45"
"""Colours of numbers above and below 0."""
NAME = 14  # columns of a terminal that the name of a row has
ON_PAGE, WRITTEN = 128, 64  # columns of a page, and those up to which their numbers are written into the cells
NAMED, IN_PICTURE = 24, 400  # columns, and numbers, up to which a picture has the numbers in its cells
ACROSS, MOST_LETTERS = 8.5, 100  # inches of a picture, and letters of names that stand beside each other there
STRENGTH = 0.9  # of the colour of the largest number


@dataclass(frozen=True)
class Heatmap(Brief, Part):
    """A matrix; in a terminal as numbers as far as they fit, or as shades if it is wide."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float]]
    """Of each row."""
    shaded: bool = False
    """Whether a terminal shows shades, for which it has room for more columns; a minus stands before those below 0."""

    @property
    def most(self) -> float:
        """The largest finite number, whichever its sign; the colour of a number is as strong as its share of this."""
        return max((abs(x) for row in self.values for x in row if math.isfinite(x)), default=0.0) or 1.0

    def renderable(self, width: int) -> "RenderableType":
        """See ``Part``; columns that do not fit into the width are left out, and a line says so."""
        from rich.cells import cell_len
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        labels = list(map(cell, self.rows))
        names = min(max(map(cell_len, labels), default=1), NAME)
        texts = [[_shade(x / self.most) if self.shaded else number(x) for x in row] for row in self.values]
        room = 2 if self.shaded else 1 + max((len(text) for row in texts for text in row), default=1)
        if not self.shaded:
            room = max(room, 1 + max(map(cell_len, self.columns), default=1)) if len(self.columns) < 4 else room
        fit = max((width - names - 1) // room, 1)
        grid = Grid(box=None, show_header=False, padding=0)
        grid.add_column(no_wrap=True, justify="right", min_width=names, max_width=names, overflow="crop")
        grid.add_column(no_wrap=True)
        if not self.shaded:
            heads = "".join(_right(column, room) for column in self.columns[:fit])
            grid.add_row("", Text(f" {heads}", style="dim"))
        for name, row, cells in zip(labels, self.values, texts, strict=True):
            line = Text(" ")
            for x, text in zip(row[:fit], cells, strict=False):
                line.append(_right(text, room), style=_hue(x))
            grid.add_row(Text(name), line)
        shown: list[RenderableType] = [Words(localized(self.title), style="bold"), grid]
        if len(self.columns) > fit:
            shown.append(Note(f"the first {fit} of {len(self.columns)} columns").renderable(width))
        return Group(*shown)

    def html(self) -> str:
        """See ``Part``; a darker cell is a larger number, which stands in it if there are few, else behind it."""
        written, narrow = len(self.columns) <= WRITTEN and not self.shaded, self.columns[:ON_PAGE]
        style = "" if written else "padding:0;min-width:.45rem;"
        head = (
            "".join(f'<th scope=col style="text-align:right">{html.escape(name)}</th>' for name in narrow)
            if written
            else ""
        )
        body = "".join(
            f"<tr><th scope=row>{cell_html(name)}</th>"
            + "".join(_cell(x, self.most, style, written=written) for x in row[:ON_PAGE])
            + "</tr>"
            for name, row in zip(self.rows, self.values, strict=True)
        )
        left = Note(f"the first {ON_PAGE} of {len(self.columns)} columns")
        more = left.html() if len(self.columns) > ON_PAGE else ""
        top = f"<thead><tr><td></td>{head}</tr></thead>" if head else ""
        table = f"<table><caption>{worded(self.title)}</caption>{top}<tbody>{body}</tbody></table>"
        return f"<div class=wide>{table}</div>{more}"

    @property
    def height(self) -> float:
        """See ``Part``."""
        return max(0.24 * len(self.rows), 0.8)

    @property
    def frame(self) -> float:
        """See ``Part``; names of columns stand upright where there are many."""
        longest = max((len(shortened(column)) for column in self.columns), default=0) if self._upright else 0
        return 0.8 + 0.06 * longest

    def draw(self, axes: "Axes") -> None:
        """See ``Part``."""
        values = torch.tensor([list(row) for row in self.values])
        picture = axes.imshow(values.numpy(), cmap=two_colours(), vmin=-self.most, vmax=self.most, aspect="auto")
        axes.set_title(localized(self.title), loc="left", fontsize=10)
        axes.set_yticks(range(len(self.rows)), labels=list(map(cell, self.rows)), fontsize=7)
        name_ticks(axes.xaxis, self.columns, ACROSS)
        axes.tick_params("x", labelsize=7, rotation=90 if self._upright else 0)
        if values.numel() > IN_PICTURE or len(self.columns) > NAMED:
            bar = axes.figure.colorbar(picture, ax=axes, pad=0.01, aspect=12)
            bar.ax.tick_params(labelsize=7)
            return
        for down, row in enumerate(self.values):
            for across, x in enumerate(row):  # in black, whose contrast is 4.5 at least on either hue
                axes.text(across, down, number(x), ha="center", va="center", fontsize=7, color="black")

    @property
    def _upright(self) -> bool:
        """Whether the names of columns stand upright, for which they would else be too long."""
        return sum(map(len, self.columns)) > MOST_LETTERS


def two_colours() -> "Colormap":
    """Returns matplotlib's form of the colours of a page: white at 0, and one hue for each sign."""
    from matplotlib.colors import LinearSegmentedColormap

    below, above = ([1 - STRENGTH * (1 - int(part) / 255) for part in hue.split(",")] for hue in (BELOW, ABOVE))
    return LinearSegmentedColormap.from_list("signs", [below, (1.0, 1.0, 1.0), above])


def number(x: float) -> str:
    """Returns a number with three decimals, ``-inf`` where a mask is; 0 is ``0``, unlike what is rounded to it."""
    if x == 0 or not math.isfinite(x):
        return f"{x:g}"
    return f"{x:z.3f}" if abs(x) < 100 else f"{x:.3g}"


def _shade(share: float) -> str:
    """Returns two columns for a share from -1 to 1."""
    mark = shade(abs(share)) if math.isfinite(share) else "?"
    return f"-{mark}" if share < 0 and mark != " " else 2 * mark


def _right(text: str, room: int) -> str:
    """Returns a text on the right of ``room`` columns, cut if it is longer."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) >= room:
        text = set_cell_size(text, room - 1) if room > 2 else text
    return " " * (room - cell_len(text)) + text


def _hue(x: float) -> str:
    return "" if not math.isfinite(x) else "red" if x < 0 else "cyan"


def _cell(x: float, most: float, style: str, *, written: bool) -> str:
    share = min(abs(x) / most, 1.0) if math.isfinite(x) else 0.0
    colour = f"{style}background:rgba({BELOW if x < 0 else ABOVE},{STRENGTH * share:.2f})"
    inside, title = (number(x), "") if written else ("", f' title="{number(x)}"')
    return f'<td class=number style="{colour}"{title}>{inside}</td>'
