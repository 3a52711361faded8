"""Views and their parts, which draw themselves in a terminal, in HTML and with matplotlib."""

import html
import io
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from clearhead.brief import Brief
from clearhead.drawing.colours import HUES
from clearhead.drawing.figure import among_others, live
from clearhead.drawing.fonts import MONO
from clearhead.drawing.plot import plot
from clearhead.drawing.strips import ends, strip
from clearhead.drawing.wording import Words, cell, cell_html, runs, worded
from clearhead.messages import Prose, localized

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType
    from rich.table import Table as Grid

MARKED = "bold yellow"
PICTURE_COLUMNS, LINE_INCHES = 125, 0.143  # width of a line of text in a picture; height of a line at 8 points
FONT_POINTS = 8
COLUMN_POINTS = 0.602 * FONT_POINTS  # width of a column, in DejaVu Sans Mono
MOST_COLUMNS = 6  # of a terminal, for each point of a curve
MOST_ON_PHONE = 4  # of a table with more columns than this, a narrow page has the first one above the others
MOST_INSIDE = 4  # with more curves than this, the legend stands outside the axes


class Part(ABC):
    """A part of a view."""

    @abstractmethod
    def renderable(self, width: int) -> "RenderableType":
        """Returns what rich prints, in ``width`` columns."""

    @abstractmethod
    def html(self) -> str:
        """Returns the part as HTML that needs no script and loads nothing."""

    @property
    def height(self) -> float:
        """Height of the picture, in inches."""
        return 2.5

    @property
    def frame(self) -> float:
        """Inches above and below the picture, for its title and the labels of the axis."""
        return 0.7

    @abstractmethod
    def draw(self, axes: "Axes") -> None:
        """Draws the part with matplotlib."""


class TextPart(Part):
    """A part that is drawn as text in a picture, too."""

    @property
    def height(self) -> float:
        """See ``Part``."""
        return LINE_INCHES * len(text_of(self, PICTURE_COLUMNS))

    @property
    def frame(self) -> float:
        """See ``Part``."""
        return 0.15

    def draw(self, axes: "Axes") -> None:
        """See ``Part``."""
        axes.axis("off")
        look: Any = {"family": MONO, "xycoords": "axes fraction", "textcoords": "offset points"}
        for row, line in enumerate(text_of(self, PICTURE_COLUMNS)):
            for column, run, wide in runs(line):
                at = (column * COLUMN_POINTS, -row * LINE_INCHES * 72 - FONT_POINTS)
                # a wide letter is as wide as its font is large: so it takes two columns
                axes.annotate(run, (0, 1), at, fontsize=2 * COLUMN_POINTS if wide else FONT_POINTS, **look)


@dataclass(frozen=True)
class Note(TextPart):
    """A line of text."""

    text: str
    marked: bool = False
    """Whether to highlight it, as something a reader should see first."""

    def renderable(self, width: int) -> "RenderableType":
        """See ``Part``."""
        return Words(localized(self.text), style=MARKED if self.marked else "")

    def html(self) -> str:
        """See ``Part``."""
        return f"<p{' class=marked' if self.marked else ''}>{worded(self.text)}</p>"


class Title(Note):
    """The title of one of several views."""


@dataclass(frozen=True)
class Table(TextPart):
    """Rows of text under named columns."""

    title: str
    columns: tuple[str, ...]
    """A name that begins with ``>`` marks a column of numbers, which is aligned on the right."""
    rows: Sequence[tuple[str, ...]]
    marked: frozenset[int] = frozenset()
    """Numbers of the rows to highlight, which a reader should see first."""
    folded: bool = False
    """Whether a page shows it only when asked to, since a figure beside it shows the same."""

    def renderable(self, width: int) -> "RenderableType":
        """See ``Part``; a cell that is too long wraps, so that nothing is cut off."""
        from rich.box import SIMPLE_HEAD
        from rich.cells import cell_len
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        names = [localized(name.removeprefix(">")) for name in self.columns]
        shown = [tuple(map(cell, row)) for row in self.rows]
        right = [name.startswith(">") for name in self.columns]
        longest = [max(map(cell_len, column)) for column in zip(names, *shown, strict=True)]
        least = [min(size, 8) for size in longest]  # no column is squeezed out by the others
        # the first column has names, which wrap only if there is no other way
        others = sum((longest if right[number] else least)[number] + 2 for number in range(1, len(names)))
        for number, name in enumerate(names):
            justify: Literal["right", "left"] = "right" if right[number] else "left"
            whole = right[number] or (number == 0 and longest[0] <= min(width - others, width * 0.45))
            grid.add_column(Text(name), justify=justify, overflow="fold", no_wrap=whole, min_width=least[number])
        for number, row in enumerate(shown):
            grid.add_row(*map(Words, row), style=MARKED if number in self.marked else "")
        return Group(
            Words(localized(self.title), style="bold"), grid
        )  # a title of the grid itself would wrap at the width of the grid

    def html(self) -> str:
        """See ``Part``."""
        numbers = [' class="number"' if name.startswith(">") else "" for name in self.columns]
        head = "".join(
            f"<th scope=col{kind}>{worded(name.removeprefix('>'))}</th>"
            for kind, name in zip(numbers, self.columns, strict=True)
        )
        body = "".join(
            f"<tr{' class=marked' if number in self.marked else ''}>"
            + "".join(f"<td{kind}>{cell_html(text)}</td>" for kind, text in zip(numbers, row, strict=True))
            + "</tr>"
            for number, row in enumerate(self.rows)
        )
        caption = "" if self.folded else f"<caption>{worded(self.title)}</caption>"
        many = f' class=many style="--columns:{len(self.columns) - 1}"' if len(self.columns) > MOST_ON_PHONE else ""
        table = f"<table{many}>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        wide = f"<div class=wide>{table}</div>"
        return f"<details><summary>{worded(self.title)}</summary>{wide}</details>" if self.folded else wide


@dataclass(frozen=True)
class Bars(Part):
    """Amounts as bars, to compare them."""

    title: str
    values: dict[str, float]
    texts: tuple[str, ...]
    """Each amount as text, with its unit."""

    def renderable(self, width: int) -> "RenderableType":
        """See ``Part``."""
        from rich.cells import cell_len
        from rich.text import Text

        shown = list(map(cell, self.values))
        names, texts = max(map(cell_len, shown), default=0), max(map(cell_len, self.texts), default=0)
        room, most = max(width - min(names, width // 2) - texts - 4, 4), max(self.values.values(), default=0) or 1.0
        grid = _grid(self.title)
        grid.add_column(overflow="fold")
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        for name, value, text in zip(shown, self.values.values(), self.texts, strict=True):
            grid.add_row(Words(name), Text("█" * round(value / most * room), style="cyan"), Text(text))
        return grid

    def html(self) -> str:
        """See ``Part``."""
        most = max(self.values.values(), default=0) or 1.0
        rows = "".join(
            f'<tr><th scope=row>{cell_html(name)}</th><td class=bar><div style="width:{value / most:.1%}"></div></td>'
            f'<td class="number">{html.escape(text)}</td></tr>'
            for (name, value), text in zip(self.values.items(), self.texts, strict=True)
        )
        table = f"<table class=bars><caption>{worded(self.title)}</caption><tbody>{rows}</tbody></table>"
        return f"<div class=wide>{table}</div>"

    @property
    def height(self) -> float:
        """See ``Part``."""
        return 0.6 + 0.25 * len(self.values)

    def draw(self, axes: "Axes") -> None:
        """See ``Part``."""
        bars = axes.barh(range(len(self.values)), list(self.values.values()), color=HUES[0])
        axes.set_yticks(range(len(self.values)), labels=list(map(cell, self.values)))
        axes.bar_label(bars, labels=self.texts, padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_title(localized(self.title), loc="left")
        axes.set_xticks([])


@dataclass(frozen=True)
class Curves(Part):
    """Lines over one axis; in a terminal a strip each, all on one scale."""

    title: str
    axis: str
    """Name of ``x``."""
    x: list[float]
    lines: dict[str, list[float]]
    from_zero: bool = False
    """Whether a page begins the axis of the values at 0, even if all of them are far from it."""

    def renderable(self, width: int) -> "RenderableType":
        """See ``Part``; beside a strip stand the ends of the scale, and its own."""
        from rich.cells import cell_len
        from rich.text import Text

        low, high = scale = ends([value for values in self.lines.values() for value in values])
        axis = localized(self.axis)
        top, bottom = (f"{end:.4g} \N{BOX DRAWINGS LIGHT VERTICAL AND LEFT}" for end in (high, low))
        own = [_from_to(*ends(values)) for values in self.lines.values()]
        names = min(max((cell_len(cell(name)) for name in self.lines), default=0), width // 3)
        room = width - names - max(len(top), len(bottom)) - max(map(cell_len, [*own, axis]), default=0) - 6
        room = max(min(room, MOST_COLUMNS * len(self.x)), 8)
        grid = _grid(self.title)
        grid.add_column(overflow="fold", max_width=names)
        grid.add_column(justify="right", no_wrap=True)
        for (name, values), span in zip(self.lines.items(), own, strict=True):
            upper, lower = strip(values, room, scale, rows=2)
            blocks, numbers = Text(f"{upper}\n{lower}", style="cyan"), Text(f"{top}\n{bottom}", style="dim")
            grid.add_row(Words(cell(name)), numbers, blocks, Text(f"\n{span}"))
        first, last = f"{self.x[0]:.4g}", f"{self.x[-1]:.4g}"
        across = first + " " * max(room - len(first) - len(last), 1) + last
        grid.add_row("", "", Text(across, style="dim"), Text(axis, style="dim"))
        return grid

    def html(self) -> str:
        """See ``Part``; a picture, which the script of a page replaces by one that answers the pointer."""
        return live("curves", self.title, self.scene(), plot(self.axis, self.x, self.lines, from_zero=self.from_zero))

    def scene(self) -> dict[str, Any]:
        """Returns what the scripts of a page draw."""
        lines = [
            {"name": name, "values": [value if math.isfinite(value) else None for value in values]}
            for name, values in self.lines.items()
        ]
        more = {"hues": HUES, "from_zero": self.from_zero}
        return {"axis": Prose(self.axis), "x": list(self.x), "lines": lines, **more}

    def draw(self, axes: "Axes") -> None:
        """See ``Part``."""
        from matplotlib.ticker import MaxNLocator

        for number, (name, values) in enumerate(self.lines.items()):
            stroke = ("-", "--", ":")[number // len(HUES) % 3]  # tells curves of the same hue apart
            axes.plot(self.x, values, label=cell(name), color=HUES[number % len(HUES)], linestyle=stroke)
        axes.set_title(localized(self.title), loc="left")
        axes.set_xlabel(localized(self.axis))
        if all(at == round(at) for at in self.x):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(self.lines) <= MOST_INSIDE:
            axes.legend(fontsize=8, loc="upper right")
        else:
            axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


class View(Brief, ABC):
    """The result of a view: a frozen dataclass of plain values, which draws itself in a notebook."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What the view shows, in a few words."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """Returns the parts of the view, in order."""

    def renderable(self, width: int) -> "RenderableType":
        """Returns what rich prints, in ``width`` columns: the parts, with empty lines between all but notes."""
        from rich.console import Group

        shown: list[RenderableType] = []
        last: Part | None = None
        for part in self.parts():
            if last is not None and not (isinstance(last, Note) and type(part) is Note):
                shown.append("")
            shown.append(part.renderable(width))
            last = part
        return Group(*shown)

    def lines(self, width: int = 80) -> list[str]:
        """Returns the view as plain text, at most ``width`` columns wide."""
        return text_of(self, width)

    def as_dict(self) -> dict[str, Any]:
        """Returns all values, for JSON."""
        return asdict(self)  # type: ignore[call-overload]

    def html(self) -> str:
        """Returns the view as HTML without its style, which ``page`` and a notebook add."""
        body = "".join(part.html() for part in self.parts())
        return f'<section class="clearhead-view"><h2>{worded(self.title)}</h2>{body}</section>'

    def _repr_html_(self) -> str:
        return among_others(self.html())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.title!r})"


def _grid(title: str) -> "Grid":
    """Returns an empty table without lines."""
    from rich.table import Table as Grid
    from rich.text import Text

    look: dict[str, Any] = {"title_justify": "left", "title_style": "bold", "box": None, "show_header": False}
    return Grid(title=Text(localized(title)), padding=(0, 2, 0, 0), pad_edge=False, **look)


def _from_to(low: float, high: float) -> str:
    return localized(f"{low:.4g} to {high:.4g}")


def text_of(part: Part | View, width: int) -> list[str]:
    """Returns a part or a view as plain lines; a Chinese character takes two columns."""
    from rich.console import Console, Group

    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False, legacy_windows=False)
    with console.capture() as captured:
        console.print(Group(part.renderable(width)))  # rich would rebuild a bare Text, and lose how ``Words`` wraps
    return [line.rstrip() for line in captured.get().splitlines()]


def sizes(shape: Iterable[int]) -> str:
    """Returns a shape for display: 2x3x4."""
    return "x".join(map(str, shape)) or "scalar"


def amount(count: int | float, unit: str = "B") -> str:
    """Returns a number with its unit: 1,234 B, 12.3 MB, 4.56 GFLOP."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= size * (10 if prefix == "k" else 1):
            return f"{count / size:,.4g} {prefix}{unit}"
    return f"{count:,.0f} {unit}"
