"""Parts of views as HTML for a page of the site: tables that scroll, curves that a script lets one move."""

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from clearhead.drawing.report import HUES, Curves, Part, Table


def drawn(parts: Sequence[Part]) -> str:
    """Returns parts as HTML without empty lines, which would end it in Markdown."""
    return "\n".join(map(tight, map(html_of, parts)))


def html_of(part: Part) -> str:
    """Returns a part as HTML: curves as a chart, tables with heads above their numbers."""
    if isinstance(part, Curves):
        return chart(part)
    text = part.html()
    if isinstance(part, Table):
        sides = (" class=number" if name.startswith(">") else "" for name in part.columns)
        text = re.sub(r"<th scope=col", lambda found: found[0] + next(sides), text)
    return text


def tight(text: str) -> str:
    """Returns HTML with the newlines inside of cells as breaks, so that Markdown takes it for one block."""
    return re.sub(r"\n+", "<br>", text.strip())


def chart(curves: Curves) -> str:
    """Returns curves as a figure: the values for the script, and a still picture for readers without it."""
    lines = [
        {"name": name, "hue": hue, "y": list(map(finite, values))}
        for (name, values), hue in zip(curves.lines.items(), HUES * len(curves.lines), strict=False)
    ]
    told = {"title": curves.title, "axis": curves.axis, "x": [rounded(at) for at in curves.x], "lines": lines}
    return (
        f"<figure class=chart><figcaption>{html.escape(curves.title)}</figcaption>{embedded(told)}"
        f"<div class=still>{curves.html()}</div></figure>"
    )


def embedded(values: Any) -> str:
    """Returns values as the JSON of an element of its own."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f'<script type="application/json">{text.replace("<", chr(92) + "u003c")}</script>'


def finite(value: float) -> float | None:
    """Returns a value as JSON can have it."""
    return rounded(value) if math.isfinite(value) else None


def rounded(value: float) -> float:
    """Returns a value with the five digits that a chart can show."""
    return float(f"{value:.5g}")


def swept(knob: str, said: str, shown: Mapping[str, Sequence[Part]], first: str) -> str:
    """Returns measurements at several values of a knob, of which a slider shows one.

    Args:
        knob: its name.
        said: what stands beside the slider.
        shown: the parts of each measurement, by the value.
        first: the value that is shown at first, and without the script.
    """
    frames = "\n".join(
        f'<div class=at data-value="{html.escape(value)}"{"" if value == first else " hidden"}>\n{drawn(parts)}\n</div>'
        for value, parts in shown.items()
    )
    return f'<div class=sweep data-knob="{html.escape(knob)}" data-said="{html.escape(said)}">\n{frames}\n</div>'
