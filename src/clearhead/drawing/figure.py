"""Figures that the scripts of a page draw from embedded data, each with plain HTML for readers without scripts."""

import base64
import functools
import hashlib
import json
import re
from importlib import resources
from typing import Any

from clearhead.drawing.colours import DARK, LIGHT, MARKS
from clearhead.drawing.wording import worded
from clearhead.messages import Prose, translated, translated_template

CLASS = "clearhead"
"""The element that holds a view among other things."""
LIVE = '<figure class="live"'
FOLDER = "web"
"""Where the modules and the style of pages lie."""
START = "static.js"
"""The module that brings a page from disk to life; one that a server sends has others, and shares the rest."""
_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function\*?|const|let|class) (\w+)", re.MULTILINE)


def live(kind: str, title: str, data: dict[str, Any], still: str) -> str:
    """Returns the HTML of a figure: its data as JSON, and ``still``, which readers without the script see.

    Args:
        kind: which drawing function of the page's scripts to use.
        title: caption of the figure, and its name for screen readers.
        data: JSON values that the script draws; ``Prose`` among them is shown in the reader's language.
        still: HTML for readers without the script.
    """
    return (
        f'{LIVE} data-kind="{kind}"><figcaption>{worded(title)}</figcaption>'
        f'<script type="application/json">{embedded(with_words(data))}</script>'
        f'<div class="still">{still}</div></figure>'
    )


def with_words(data: dict[str, Any]) -> dict[str, Any]:
    """Returns the data of a figure with the Chinese of the texts of the program in it."""
    return data | {"words": {text: translated(text) for text in prose_in(data)}}


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


def modules() -> list[str]:
    """Returns the names of the modules that all pages share."""
    files = (resources.files("clearhead.drawing") / FOLDER).iterdir()
    return sorted(file.name for file in files if file.name.endswith(".js"))


def says(source: str) -> list[str]:
    """Returns what a module of a page says, as templates."""
    return re.findall(r'\bsay\(\s*"([^"]+)"', source)


def script_says() -> list[str]:
    """Returns what the modules say that all pages share."""
    return [text for name in modules() for text in says(resource(name))]


def settings(said: list[str]) -> dict[str, Any]:
    """Returns what the modules of a page need to know: the Chinese of what they say, and the scale of colours."""
    scale = {"light": LIGHT, "dark": DARK, "marks": MARKS}
    return {"words": {text: translated_template(text) for text in said}, "scale": scale}


def resource(name: str) -> str:
    """Returns the text of a module or of the style of pages."""
    return (resources.files("clearhead.drawing") / FOLDER / name).read_text(encoding="utf-8")


@functools.cache
def bundle(start: str = START) -> str:
    """Returns a module and all that it imports as one script, each in a scope of its own, in the order of imports."""
    bodies: dict[str, str] = {}

    def add(name: str) -> None:
        if name in bodies:
            return
        source = resource(name)
        for _, imported in _IMPORT.findall(source):
            add(imported)
        exports = ", ".join(found for _, found in _EXPORT.findall(source))
        inside = _EXPORT.sub(
            r"\1 \2", _IMPORT.sub(lambda match: f"const {{ {match[1]} }} = {_scope(match[2])};\n", source)
        )
        bodies[name] = f"const {_scope(name)} = (() => {{\n{inside}return {{ {exports} }};\n}})();\n"

    add(start)
    return "".join(bodies.values())


def _scope(name: str) -> str:
    return f"in_{name.removesuffix('.js')}"


def digest(script: str) -> str:
    """Returns a script as a Content Security Policy names it, so that a browser runs no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def among_others(body: str) -> str:
    """Returns HTML with the style of a page, which holds for it alone: for a notebook, whose cells are one page.

    The rules of the page and its body become those of the element around it, by nesting of CSS.
    """
    style = re.sub(r":root|\bbody\b", "&", resource("style.css"))
    return f'<div class="{CLASS}"><style>.{CLASS} {{\n{style}}}</style>{body}</div>'
