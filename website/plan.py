"""Which pages the site has, in which order, and which file of the project each comes from."""

from collections.abc import Iterator
from typing import Any

from clearhead.cli.main import VERBS
from clearhead.lessons.catalog import LESSONS, THEMES
from clearhead.messages import Language
from website.language import words

SOURCES: dict[Language, dict[str, str]] = {
    "en": {"index.md": "README.md"},
    "zh": {"index.md": "README.zh-CN.md"},
}
"""Pages whose source is not the file of the same name in docs/ or docs/zh/."""
OF_THE_PROJECT = {
    "architecture.md": "ARCHITECTURE.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
"""Pages that there are in English alone."""
HOW_TO = (
    "translation.md",
    "language_model.md",
    "bert.md",
    "classify.md",
    "inspect.md",
    "inspect-attention.md",
    "export.md",
    "distributed.md",
    "serve.md",
    "deploy.md",
)
API = ("clearhead", "inspect", "models", "data", "runs", "views")
WRITTEN = (
    *("index.md", "tutorial.md", *HOW_TO, "cli.md", "recipe.md", "lessons.md"),
    *("engine.md", "padding.md", "reliability.md", "results.md", "log.md"),
)
"""Pages that a person wrote, in each language."""

Tree = list[str | tuple[str, "Tree"]]
"""Pages, and sections of them: (key of its title, what is in it)."""


def tree() -> Tree:
    """Returns the pages in their sections."""
    lessons: Tree = ["lessons.md"]
    lessons += [(theme, [lesson_path(name) for name, of in LESSONS.items() if of == theme]) for theme in THEMES]
    return [
        "index.md",
        "tutorial.md",
        ("how-to", list(HOW_TO)),
        ("lessons", lessons),
        (
            "reference",
            [
                "cli.md",
                ("verbs", [verb_path(verb) for verb in VERBS]),
                "recipe.md",
                ("api", [f"api/{name}.md" for name in API]),
            ],
        ),
        ("explanations", ["architecture.md", "engine.md", "padding.md", "reliability.md"]),
        ("figures", ["gallery.md", "results.md", "log.md"]),
        ("project", ["contributing.md", "changelog.md"]),
    ]


def paths(part: Tree | None = None) -> Iterator[str]:
    """Yields the path of every page, in order."""
    for entry in tree() if part is None else part:
        if isinstance(entry, str):
            yield entry
        else:
            yield from paths(entry[1])


def lesson_path(name: str) -> str:
    """Returns the path of the page of a lesson."""
    return f"lessons/{name}.md"


def verb_path(verb: str) -> str:
    """Returns the path of the page of a verb."""
    return f"cli/{verb}.md"


def navigation(language: Language, titles: dict[str, str], part: Tree | None = None) -> list[dict[str, Any]]:
    """Returns the tree as zensical's ``nav``.

    Args:
        language: of the titles of sections.
        titles: of pages, by path.
        part: of the tree; all of it by default.
    """
    names = words(language, "nav")
    return [
        {titles[entry]: entry} if isinstance(entry, str) else {names[entry[0]]: navigation(language, titles, entry[1])}
        for entry in (tree() if part is None else part)
    ]
