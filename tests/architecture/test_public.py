"""What a user's program sees of clearhead: every class that a public signature names is public, and README is typed."""

import ast
import functools
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.architecture import freeze, source

FOREIGN = {"RenderableType": object, "Axes": object}
"""What views import for type checkers only."""
VIEWS = importlib.import_module("clearhead.inspect").__all__


def public() -> dict[str, Any]:
    """Returns the public classes and functions by name."""
    package = importlib.import_module("clearhead")
    names = [name for name in freeze.public_names() if name not in ("__version__", "inspect", "types")]
    objects = {name: importlib.import_module("operator").attrgetter(name)(package) for name in names}
    return objects | {f"inspect.{name}": getattr(package.inspect, name) for name in VIEWS}


def classes(annotation: Any) -> Iterator[type]:
    """Yields our own classes in an annotation."""
    if isinstance(annotation, list):
        for part in annotation:
            yield from classes(part)
    elif parts := typing.get_args(annotation):
        for part in parts:
            yield from classes(part)
    elif isinstance(annotation, type) and annotation.__module__.startswith("clearhead"):
        yield annotation


@functools.cache
def checked_only(module: str) -> dict[str, Any]:
    """Returns what a module imports for type checkers alone."""
    tree = ast.parse(Path(sys.modules[module].__file__ or "").read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom) and node.module]
    return {
        each.asname or each.name: getattr(importlib.import_module(str(node.module)), each.name)
        for node in imports
        for each in node.names
        if each.name not in FOREIGN
    }


def names_in(thing: Any) -> dict[str, Any]:
    """Returns names that annotations use and Python does not know where they stand: of bases too."""
    places = [base.__module__ for base in inspect.getmro(thing)] if isinstance(thing, type) else [thing.__module__]
    ours = [place for place in places if place.startswith("clearhead")]
    return {**FOREIGN, **{name: kind for place in ours for name, kind in checked_only(place).items()}}


def annotations(name: str, thing: Any) -> Iterator[tuple[str, Any]]:
    """Yields where a public name has an annotation, and the annotation."""
    if not isinstance(thing, type):
        yield from (
            (f"{name}({part})", kind) for part, kind in typing.get_type_hints(thing, localns=names_in(thing)).items()
        )
        return
    if name.removeprefix("types.") not in shown_only():
        yield from (
            (f"{name}.{part}", kind)
            for part, kind in typing.get_type_hints(thing, localns=names_in(thing)).items()
            if part[0] != "_"
        )
    for part, member in vars(thing).items():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if not part.startswith("_") and inspect.isfunction(function):
            yield from annotations(f"{name}.{part}", function)


def shown_only() -> set[str]:
    """Returns the views: they are read by their lines, their parts and ``as_dict``, which has plain values."""
    from clearhead.drawing.report import Part, View

    types = importlib.import_module("clearhead.types")
    kinds = {name: getattr(types, name) for name in types.__all__}
    return {name for name, kind in kinds.items() if inspect.isclass(kind) and issubclass(kind, View | Part)}


def test_every_class_in_a_public_signature_is_public() -> None:
    objects = public()
    known = set(map(id, objects.values()))
    hidden = {
        f"{place}: {kind.__module__}.{kind.__name__}"
        for name, thing in objects.items()
        for place, annotation in annotations(name, thing)
        for kind in classes(annotation)
        if id(kind) not in known
    }
    assert sorted(hidden) == []


def test_the_walk_finds_what_is_hidden() -> None:
    from clearhead.decode.hypotheses import Hypothesis, SearchConfig

    class Public:
        def ask(self, config: list[SearchConfig] | None) -> dict[str, tuple[Hypothesis, ...]]:
            return {}

    kinds = {kind for _, annotation in annotations("Public", Public) for kind in classes(annotation)}
    assert kinds == {SearchConfig, Hypothesis}


@pytest.mark.timeout(900)  # of a first run of mypy, which reads torch; later ones take what that left
def test_readme_and_the_pages_are_typed(tmp_path: Path) -> None:
    """README's example has no expression whose type is unknown, as ``load`` without a task would give."""
    from mypy import api

    files = []
    for page in [source.ROOT / "README.md", *sorted((source.ROOT / "docs").glob("*.md"))]:
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)):
            files.append(tmp_path / f"{page.stem.replace('-', '_')}_{number}.py")
            files[-1].write_text("# mypy: disallow-any-expr\n" * (page.stem == "README") + block, "utf-8")
    assert files[0].name == "README_0.py"
    settings = ["--config-file", str(source.ROOT / "pyproject.toml"), "--cache-dir", str(source.ROOT / ".mypy_cache")]
    report, problems, status = api.run([*settings, *map(str, files)])
    assert (status, problems) == (0, ""), report
