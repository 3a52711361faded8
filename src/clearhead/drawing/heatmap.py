"""Draws attention maps: shades in a terminal, a figure or table in HTML, a mosaic as PNG."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clearhead.brief import Brief
from clearhead.drawing.colours import colour, ink
from clearhead.drawing.figure import live
from clearhead.drawing.maps import draw_heads, heads_height
from clearhead.drawing.report import Part
from clearhead.drawing.wording import Words, escaped, worded
from clearhead.messages import Prose, localized

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

SHADES = " ░▒▓█"


@dataclass(frozen=True)
class Panel:
    """The attention weights of one module, for one text."""

    name: str
    kind: str
    queries: Sequence[str]
    keys: Sequence[str]
    weights: Tensor
    """[heads, queries, keys]."""
    captions: Sequence[str]
    """One caption for each head."""
    shown: int
    """Number of the head that a terminal and a notebook show."""
    facts: Sequence[dict[str, Any]] = ()
    """Of each head its type, share, entropy, loss and divergence, by name; empty where they are not known."""


@dataclass(frozen=True)
class AttentionPicture(Brief, Part):
    """All heads of all modules; a terminal or notebook, which have less room, show one head of each kind."""

    title: str
    panels: Sequence[Panel]
    focus: Sequence[int]
    """Numbers of the panels that a terminal and a notebook show."""

    def renderable(self, width: int) -> "RenderableType":
        """See ``Part``; keys that do not fit into the width are left out, and the title says so."""
        from rich.console import Group

        first, *others = (_shaded(self.panels[number], width) for number in self.focus)
        return Group(first, *(line for picture in others for line in ("", picture)))

    def html(self) -> str:
        """See ``Part``; tables of the shown heads, which the script of a page replaces by a figure of all heads."""
        return live("attention", self.title, self.scene(), "".join(_table(self.panels[at]) for at in self.focus))

    def scene(self) -> dict[str, Any]:
        """Returns what the scripts of a page draw."""
        return {
            "panels": [
                {
                    "name": panel.name,
                    "kind": Prose(panel.kind),
                    "queries": list(panel.queries),
                    "keys": list(panel.keys),
                    "captions": list(map(Prose, panel.captions)),
                    "facts": list(panel.facts) or None,
                    "weights": [_encoded(weights) for weights in panel.weights],
                }
                for panel in self.panels
            ],
            "focus": list(self.focus),
            "shown": [panel.shown for panel in self.panels],
        }

    @property
    def height(self) -> float:
        """See ``Part``."""
        return heads_height(self.panels)

    @property
    def frame(self) -> float:
        """See ``Part``; the height has all."""
        return 0.0

    def draw(self, axes: "Axes") -> None:
        """See ``Part``; many axes take the place of the one."""
        place = axes.figure
        axes.remove()
        draw_heads(place, self.title, self.panels)


def _shaded(panel: Panel, width: int) -> "RenderableType":
    """Returns a head as shades; rows are queries, and the keys are written downwards below the map."""
    from rich.cells import cell_len
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    names = min(max(map(cell_len, panel.queries), default=1), 14)
    fit = max((width - names - 2) // 2, 1)
    weights = panel.weights[panel.shown][:, :fit]
    title = f"{panel.name}, {localized(panel.captions[panel.shown])}{localized('; rows look at columns')}"
    if len(panel.keys) > fit:
        title += localized(f"; the first {fit} of {len(panel.keys)} keys")
    grid = Grid(box=None, show_header=False, padding=0)
    grid.add_column(no_wrap=True, justify="right", min_width=names, max_width=names, overflow="crop")
    grid.add_column(no_wrap=True)
    for name, row in zip(panel.queries, weights.tolist(), strict=True):
        cells = "".join(2 * shade(value) for value in row)
        grid.add_row(Text(name), Text(" " + cells, style="cyan"))
    keys = [list(key[:8]) for key in panel.keys[:fit]]
    for line in range(max(map(len, keys), default=0)):
        letters = "".join(_two(key[line]) if line < len(key) else "  " for key in keys)
        grid.add_row("", Text(" " + letters, style="dim"))
    return Group(Words(title, style="bold"), grid)


def shade(share: float) -> str:
    """Returns a block that is as dark as a share from 0 to 1."""
    return SHADES[min(round(share * (len(SHADES) - 1) + 0.25), len(SHADES) - 1)]


def _two(letter: str) -> str:
    """Returns a letter, padded to two columns."""
    from rich.cells import cell_len

    return letter + " " * (2 - cell_len(letter))


def _table(panel: Panel) -> str:
    """Returns a head as an HTML table of percentages, in the colours of the scale of weights."""
    head = "".join(f"<th scope=col>{html.escape(key)}</th>" for key in panel.keys)
    rows = "".join(
        f"<tr><th scope=row>{html.escape(name)}</th>"
        + "".join(f'<td style="background:{colour(value)};color:{ink(value)}">{100 * value:.0f}</td>' for value in row)
        + "</tr>"
        for name, row in zip(panel.queries, panel.weights[panel.shown].tolist(), strict=True)
    )
    caption = (
        f"{escaped(panel.name)}, {worded(panel.captions[panel.shown])}{worded('; in per cent, rows look at columns')}"
    )
    table = f"<table><caption>{caption}</caption><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<div class=wide>{table}</div>"


def _encoded(weights: Tensor) -> str:
    """Returns the weights in base64, a byte for each, 255 for a weight of 1: precise to 0.2 % when a reader hovers."""
    return base64.b64encode((weights * 255).round().to(torch.uint8).numpy().tobytes()).decode("ascii")
