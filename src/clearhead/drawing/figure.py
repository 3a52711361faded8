"""Figures that the script of a page draws from embedded data, each with plain HTML for readers without the script."""

import html
import json
import re
from importlib import resources
from typing import Any

CLASS = "clearhead"
"""The element that holds a view among other things."""
LIVE = '<figure class="live"'


def live(kind: str, title: str, data: Any, still: str) -> str:
    """Returns the HTML of a figure: its data as JSON, and ``still``, which readers without the script see.

    Args:
        kind: which drawing function of the page's script to use.
        title: caption of the figure, and its name for screen readers.
        data: JSON values that the script draws.
        still: HTML for readers without the script.
    """
    # "</script>" in the data must not end the element
    encoded = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'{LIVE} data-kind="{kind}"><figcaption>{html.escape(title)}</figcaption>'
        f'<script type="application/json">{encoded}</script><div class="still">{still}</div></figure>'
    )


def resource(name: str) -> str:
    """Returns the text of a file in this package, such as the style or script of a page."""
    return (resources.files("clearhead.drawing") / name).read_text(encoding="utf-8")


def among_others(body: str) -> str:
    """Returns HTML with the style of a page, which holds for it alone: for a notebook, whose cells are one page.

    The rules of the page and its body become those of the element around it, by nesting of CSS.
    """
    style = re.sub(r":root|\bbody\b", "&", resource("page.css"))
    return f'<div class="{CLASS}"><style>.{CLASS} {{\n{style}}}</style>{body}</div>'
