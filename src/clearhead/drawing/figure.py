"""Figures that the script of a page draws from embedded data, each with plain HTML for readers without the script."""

import json
import re
from importlib import resources
from typing import Any

from clearhead.drawing.wording import worded
from clearhead.messages import Prose, translated, translated_template

CLASS = "clearhead"
"""The element that holds a view among other things."""
LIVE = '<figure class="live"'


def live(kind: str, title: str, data: dict[str, Any], still: str) -> str:
    """Returns the HTML of a figure: its data as JSON, and ``still``, which readers without the script see.

    Args:
        kind: which drawing function of the page's script to use.
        title: caption of the figure, and its name for screen readers.
        data: JSON values that the script draws; ``Prose`` among them is shown in the reader's language.
        still: HTML for readers without the script.
    """
    encoded = embedded(data | {"words": {text: translated(text) for text in prose_in(data)}})
    return (
        f'{LIVE} data-kind="{kind}"><figcaption>{worded(title)}</figcaption>'
        f'<script type="application/json">{encoded}</script><div class="still">{still}</div></figure>'
    )


def embedded(data: Any) -> str:
    """Returns JSON for an element ``script``, which no text in it can end."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def prose_in(data: Any) -> list[str]:
    """Returns the texts of the program among the values of a figure."""
    match data:
        case Prose():
            return [data]
        case dict():
            return [text for value in data.values() for text in prose_in(value)]
        case list() | tuple():
            return [text for value in data for text in prose_in(value)]
    return []


def script_says() -> list[str]:
    """Returns what the script of a page says, as templates."""
    return re.findall(r'\bsay\(\s*"([^"]+)"', resource("page.js"))


def script_words() -> dict[str, str]:
    """Returns the same with its translation."""
    return {text: translated_template(text) for text in script_says()}


def resource(name: str) -> str:
    """Returns the text of a file in this package, such as the style or script of a page."""
    return (resources.files("clearhead.drawing") / name).read_text(encoding="utf-8")


def among_others(body: str) -> str:
    """Returns HTML with the style of a page, which holds for it alone: for a notebook, whose cells are one page.

    The rules of the page and its body become those of the element around it, by nesting of CSS.
    """
    style = re.sub(r":root|\bbody\b", "&", resource("page.css"))
    return f'<div class="{CLASS}"><style>.{CLASS} {{\n{style}}}</style>{body}</div>'
