"""Figures that the script of a page draws from embedded data, each with plain HTML for readers without the script."""

import html
import json
from importlib import resources
from typing import Any

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
