"""The files of the page, by the paths that a browser asks for."""

import functools
import json
from importlib import resources

from clearhead.drawing import figure

TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@functools.cache
def page_files() -> dict[str, tuple[bytes, str]]:
    """Returns content and type of each file by its path; the page itself is at ``/``."""
    own = {
        file.name: file.read_text(encoding="utf-8")
        for file in resources.files("clearhead.serve.page").iterdir()
        if file.name.rpartition(".")[2] in TYPES
    }
    shared = {name: figure.resource(name) for name in (*figure.modules(), "style.css")}
    assert not own.keys() & shared.keys(), "two files of the page have one name"
    files = {f"/page/{name}": _encoded(name, text) for name, text in {**shared, **own}.items() if name != "index.html"}
    said = [text for name, text in {**shared, **own}.items() if name.endswith(".js") for text in figure.says(text)]
    settings = json.dumps(figure.settings(said), ensure_ascii=False)
    files["/page/settings.json"] = settings.encode(), "application/json"
    return files | {"/": _encoded("index.html", own["index.html"])}


def _encoded(name: str, text: str) -> tuple[bytes, str]:
    return text.encode(), f"{TYPES[name.rpartition('.')[2]]}; charset=utf-8"
