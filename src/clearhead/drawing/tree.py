"""Draws the tree of a beam search with matplotlib: each candidate in a box, with its score and what became of it."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clearhead.drawing.colours import HUES
from clearhead.drawing.maps import shortened
from clearhead.messages import localized

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEPS = 8  # that stand beside each other; those to come are below
ACROSS, DOWN = 1.15, 0.34  # inches from box to box
WIDE, HIGH = 0.95, 0.29  # inches of a box
MARGIN, HEAD, GAP = 0.4, 0.22, 0.2  # inches left of the first step, above the boxes of a band, below them
LINE = 0.17  # inches of a line of the legend
LETTERS = 15  # of a piece
FAINT, GREY, DEAD = "#bbbbbb", "#666666", "#9c3f1a"
LOST = ("not kept", "late end")
"""Fates of candidates that never were in the beam."""


def tree_height(nodes: Sequence[Mapping[str, Any]]) -> float:
    """Returns the height of the picture of a tree, in inches."""
    return _bands(nodes) * _band_height(nodes) + LINE * (len({node["fate"] for node in nodes}) + 1)


def draw_tree(
    axes: "Axes", nodes: Sequence[Mapping[str, Any]], returned: Sequence[int], why: Mapping[Any, str]
) -> None:
    """Draws every candidate of a search, steps to the right and the best candidate of each step on top.

    Args:
        axes: is left without axes.
        nodes: of each candidate its parent (a place among them), step, rank, piece, score, fate, and ``best``: the
            place of the best result that it leads to, or 0.
        returned: places of the ends of the results, best first.
        why: what each fate means.
    """
    height = tree_height(nodes)
    axes.axis("off")
    axes.set(xlim=(0, MARGIN + STEPS * ACROSS), ylim=(height, 0))
    for step in range(1, max((node["step"] for node in nodes), default=0) + 1):
        left, top = _corner(nodes, step, 1)
        axes.text(left, top - 0.06, localized(f"step {step}"), fontsize=7, color=GREY, va="bottom")
    for node in nodes:
        _draw_link(axes, nodes, node)
    for at, node in enumerate(nodes):
        place = returned.index(at) + 1 if at in returned else None
        _draw_box(axes, node, *_corner(nodes, node["step"], node["rank"]), place)
    counts = {fate: sum(node["fate"] == fate for node in nodes) for fate in why}
    lines = [
        f"{localized(f'{fate} {count}')}: {localized(why[fate])}" if why[fate] != fate else localized(f"{fate} {count}")
        for fate, count in counts.items()
        if count
    ]
    for number, line in enumerate(lines):
        axes.text(0, height - LINE * (len(lines) - number), line, fontsize=7, color=GREY, va="center")


def _draw_link(axes: "Axes", nodes: Sequence[Mapping[str, Any]], node: Mapping[str, Any]) -> None:
    """Draws the line from the parent of a node, which in the first step of a band begins at its left."""
    if node["parent"] is None:
        return
    parent = nodes[node["parent"]]
    x, y = _corner(nodes, node["step"], node["rank"])
    before = x - ACROSS + WIDE
    y0 = y + DOWN * (parent["rank"] - node["rank"])
    hue = HUES[(node["best"] - 1) % len(HUES)] if node["best"] else FAINT
    middle, wide = HIGH / 2, 1.6 if node["best"] else 0.6
    axes.plot([before, x], [y0 + middle, y + middle], color=hue, linewidth=wide, zorder=2 if node["best"] else 1)


def _draw_box(axes: "Axes", node: Mapping[str, Any], left: float, top: float, place: int | None) -> None:
    from matplotlib.patches import FancyBboxPatch

    best, lost = node["best"], node["fate"] in LOST
    edge = HUES[(best - 1) % len(HUES)] if best else FAINT
    style = "round,pad=0,rounding_size=0.04"
    fill = "#f4f4f4" if lost else "white"
    axes.add_patch(
        FancyBboxPatch((left, top), WIDE, HIGH, style, facecolor=fill, edgecolor=edge, linewidth=1.4 if best else 0.6)
    )
    ink = GREY if lost else "black"
    piece = shortened(node["piece"], LETTERS)
    weight = "bold" if best else "normal"
    axes.text(left + 0.04, top + 0.09, piece, fontsize=6.5, color=ink, weight=weight, va="center")
    axes.text(left + 0.04, top + 0.215, f"{node['score']:.2f}", fontsize=5.5, color=ink, va="center")
    end = localized(f"result {place}") if place else "" if node["fate"] == "went on" else localized(node["fate"])
    hue = edge if place else GREY if lost else DEAD
    axes.text(left + WIDE - 0.04, top + 0.215, end, fontsize=5.5, color=hue, va="center", ha="right")


def _corner(nodes: Sequence[Mapping[str, Any]], step: int, rank: int) -> tuple[float, float]:
    """Returns the left upper corner of a box."""
    band, column = divmod(step - 1, STEPS)
    return MARGIN + column * ACROSS, band * _band_height(nodes) + HEAD + (rank - 1) * DOWN


def _bands(nodes: Sequence[Mapping[str, Any]]) -> int:
    return math.ceil(max((node["step"] for node in nodes), default=1) / STEPS)


def _band_height(nodes: Sequence[Mapping[str, Any]]) -> float:
    return HEAD + DOWN * max((node["rank"] for node in nodes), default=1) + GAP
