"""Draws attention with matplotlib, in the colours of the page: a map for each head, its pieces, one scale for all."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from clearhead.drawing.colours import LIGHT, MARKS
from clearhead.messages import localized

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure, SubFigure

    from clearhead.drawing.heatmap import Panel

ROOM = 8.6  # inches that the maps of a row share, beside the names of the queries
LEAST, MOST = 1.05, 2.1  # inches of a map
STEP = 0.115  # inches that a name needs
LETTERS = 12  # of a name
LEGEND = 0.95  # inches of the title and of the scale below it


def weight_colours() -> "tuple[Colormap, Normalize]":
    """Returns matplotlib's form of the scale of weights: its colours, and where a weight stands on it."""
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    return LinearSegmentedColormap.from_list("weights", LIGHT), PowerNorm(0.5, 0, 1, clip=True)


def heads_height(panels: "Sequence[Panel]") -> float:
    """Returns the height of the picture of all heads, in inches."""
    return LEGEND + sum(map(_panel_height, panels))


def draw_heads(place: "Figure | SubFigure", title: str, panels: "Sequence[Panel]") -> None:
    """Draws a map for each head, a block of them for each module; rows are queries and columns are keys.

    Queries are named at the first map of a row, keys below the last one of a column. Where names are too many for the
    map, every second is shown, or every third, and so on.
    """
    from matplotlib.cm import ScalarMappable

    colours, norm = weight_colours()
    heights = [LEGEND, *map(_panel_height, panels)]
    top, *blocks = place.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    top.text(0.01, 1, localized(title), fontsize=12, va="top")
    scale = top.add_axes((0.02, 0.5, 0.5, 0.15))
    bar = top.colorbar(ScalarMappable(norm, colours), cax=scale, orientation="horizontal", ticks=MARKS)
    bar.set_ticklabels([f"{mark:.0%}" for mark in MARKS], fontsize=7)
    bar.set_label(localized("attention weight, one scale for all heads"), fontsize=8)
    for block, panel in zip(blocks, panels, strict=True):
        _draw_panel(block, panel)


def name_ticks(axis: "Axis", names: Sequence[str], inches: float) -> None:
    """Puts names at an axis of a matrix, as many of them as ``inches`` have room for, at equal distances."""
    every = math.ceil(len(names) / max(int(inches / STEP), 1))
    shown = range(0, len(names), every)
    axis.set_ticks(list(shown), labels=[shortened(names[at]) for at in shown])


def shortened(name: str, most: int = LETTERS) -> str:
    """Returns a name of at most ``most`` characters; what was longer ends with an ellipsis."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _draw_panel(place: "SubFigure", panel: "Panel") -> None:
    rows, columns = _grid(panel)
    place.suptitle(f"{panel.name} ({localized(panel.kind)})", x=0.01, ha="left", fontsize=9)
    grid = place.subplots(rows, columns, squeeze=False)
    heads = len(panel.weights)
    for number, axes in enumerate(grid.flat):
        if number < heads:
            _draw_head(axes, panel.weights[number])
            axes.set_title(localized(panel.captions[number]).replace("；", "; ").split("; ")[0], fontsize=6.5, pad=3)
            if number % columns == 0:
                name_ticks(axes.yaxis, panel.queries, _map_height(panel))
            if number + columns >= heads:
                name_ticks(axes.xaxis, panel.keys, ROOM / columns)
                axes.tick_params("x", rotation=90)
        else:
            axes.axis("off")


def _draw_head(axes: "Axes", weights: Tensor) -> None:
    colours, norm = weight_colours()
    axes.imshow(weights.numpy(), cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(labelsize=6.5, length=2, pad=1.5)
    axes.spines[["top", "right"]].set_visible(True)
    axes.spines[:].set(color="#999999", linewidth=0.5)


def _grid(panel: "Panel") -> tuple[int, int]:
    """Returns the rows and columns of the heads of a module; few heads leave columns empty, and do not grow."""
    heads, side = len(panel.weights), min(max(STEP * len(panel.keys), LEAST), MOST)
    rows = math.ceil(heads / int(ROOM / side))
    return rows, max(math.ceil(heads / rows), int(ROOM / MOST))


def _map_height(panel: "Panel") -> float:
    return min(max(STEP * len(panel.queries), 0.7), MOST)


def _panel_height(panel: "Panel") -> float:
    longest = max((len(shortened(key)) for key in panel.keys), default=0)
    return 0.5 + 0.07 * longest + _grid(panel)[0] * (_map_height(panel) + 0.22)
