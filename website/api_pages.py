"""The reference of the Python API: pages that ask mkdocstrings for each public name, at the module that defines it."""

from collections.abc import Callable

import clearhead
from clearhead import inspect, types
from clearhead.messages import Language
from website.language import words

# which rooms the classes of ``clearhead.types`` come from, by page
ROOMS = {
    "models": {"models", "nn", "optim", "loss", "text"},
    "data": {"data"},
    "runs": {"checkpoint", "runs", "tasks", "training", "verbs", "decode", "evaluate"},
    "views": {"inspect", "drawing", "lessons"},
}


def root_names() -> dict[str, list[str]]:
    """Returns the public names of ``clearhead`` by section, functions first; each as MODULE.NAME."""
    homes = {name: home for name, home in clearhead._HOMES.items() if name in clearhead.__all__}
    is_function: Callable[[str], bool] = str.islower
    errors = [name for name in homes if name.endswith("Error")]
    functions = [name for name in homes if is_function(name)]
    classes = [name for name in homes if name not in errors and name not in functions]
    sections = {"functions": functions, "classes": classes, "errors": errors}
    return {section: [f"{homes[name]}.{name}" for name in sorted(names)] for section, names in sections.items()}


def type_names(page: str) -> list[str]:
    """Returns the classes of ``clearhead.types`` that a page has, each as MODULE.NAME."""
    return [f"{home}.{name}" for name, home in sorted(types._HOMES.items()) if home.split(".")[1] in ROOMS[page]]


def inspect_names() -> list[str]:
    """Returns the public functions and classes of ``clearhead.inspect``, each as MODULE.NAME."""
    return [f"{getattr(inspect, name).__module__}.{name}" for name in sorted(inspect.__all__)]


def api_pages(language: Language) -> dict[str, str]:
    """Returns the Markdown of each page, by path."""
    said = words(language, "api")
    sections = "".join(f"\n## {said[name]}\n\n{asked(names)}" for name, names in root_names().items())
    pages = {"clearhead": f"# clearhead\n\n{said['root']}\n{sections}"}
    pages["inspect"] = f"# clearhead.inspect\n\n{said['inspect']}\n\n{asked(inspect_names(), level=2)}"
    for page in ROOMS:
        pages[page] = f"# {said[page]}\n\n{said['types']}\n\n{asked(type_names(page), level=2)}"
    return {f"api/{name}.md": text for name, text in pages.items()}


def asked(names: list[str], level: int = 3) -> str:
    """Returns the lines that ask mkdocstrings for names, with headings of a level."""
    return "".join(f"::: {name}\n    options:\n      heading_level: {level}\n\n" for name in names)
