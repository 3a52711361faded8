"""Curves with axes as a picture in HTML that needs no script: for a notebook, and for a page where scripts are off."""

import html
import math
from collections.abc import Mapping, Sequence
from itertools import groupby

from clearhead.drawing.colours import HUES
from clearhead.drawing.strips import ends
from clearhead.drawing.wording import cell, cell_html
from clearhead.messages import localized

DASHES = ("", "7 4", "2 3", "9 3 2 3")
"""Strokes of curves: all hues come in the first, then in the next."""
WIDE, TALL, LEFT, RIGHT, TOP, BOTTOM = 620, 240, 52, 12, 10, 38


def plot(axis: str, x: Sequence[float], lines: Mapping[str, Sequence[float]], *, from_zero: bool = False) -> str:
    """Returns curves over one axis, with ticks on both and the names in the looks of their curves.

    Args:
        axis: name of ``x``.
        x: places on it.
        lines: values of each curve at these places; where one is not finite, the curve has a gap.
        from_zero: whether the axis of the values begins at 0, even if all of them are far from it.
    """
    low, high = span([value for values in lines.values() for value in values], from_zero=from_zero)
    first, last = x[0], x[-1]

    def across(at: float) -> float:
        return LEFT + (at - first) / ((last - first) or 1.0) * (WIDE - LEFT - RIGHT)

    def down(value: float) -> float:
        return TOP + (1 - (value - low) / (high - low)) * (TALL - TOP - BOTTOM)

    drawn = [
        f'<line class="tick" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{down(value):.1f}" y2="{down(value):.1f}"/>'
        f'<text class="axis" x="{LEFT - 7}" y="{down(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        for value in ticks(low, high)
    ]
    drawn += [
        f'<text class="axis" x="{across(at):.1f}" y="{TALL - BOTTOM + 16}" text-anchor="middle">{at:g}</text>'
        for at in ticks(first, last)
        if at == round(at) or any(place != round(place) for place in x)
    ]
    middle = f'x="{(LEFT + WIDE) / 2}" y="{TALL - 5}" text-anchor="middle"'
    drawn.append(f'<text class="axis" {middle}>{html.escape(localized(axis))}</text>')
    names = []
    for number, (line, values) in enumerate(lines.items()):
        dash = DASHES[number // len(HUES) % len(DASHES)]
        look = f'style="--hue:{HUES[number % len(HUES)]}" stroke-dasharray="{dash}"'
        for is_finite, points in groupby(zip(x, values, strict=True), lambda point: math.isfinite(point[1])):
            if is_finite:
                places = " ".join(f"{across(at):.1f},{down(y):.1f}" for at, y in points)
                drawn.append(f'<polyline {look} points="{places}"/>')
        sample = f'<line class="hued" x2="26" y1="4" y2="4" stroke-width="2.5" {look}/>'
        names.append(f'<span><svg width="26" height="8" aria-hidden="true">{sample}</svg> {cell_html(line)}</span>')
    label = html.escape(f"{localized(axis)}: {', '.join(map(cell, lines))}")
    picture = f'<svg class="curves" viewBox="0 0 {WIDE} {TALL}" role="img" aria-label="{label}">{"".join(drawn)}</svg>'
    return f'{picture}<p class="key">{" ".join(names)}</p>'


def span(values: Sequence[float], *, from_zero: bool = False) -> tuple[float, float]:
    """Returns the ends of an axis for some values: from 0 where they come near it, and never one alone."""
    low, high = ends(values)
    low = min(low, 0.0) if from_zero or 0 <= low < 0.5 * high else low
    return low, high if high > low else low + (abs(low) or 1.0) * 0.1


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Returns about ``most`` numbers that divide a range evenly and are short to write."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= (high - low) / most * 0.999)
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [float(f"{number * step:.12g}") for number in numbers]
