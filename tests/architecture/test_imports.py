"""Who may import what, beyond the layers that import-linter checks, and what a light start may load."""

import ast
import json
import subprocess
import sys
from pathlib import Path

from tests.architecture import source
from tests.limits import HANGS

HEAVY = {"torch", "numpy", "transformers", "pydantic"}
MOST_MODULES = 400
MAY_INSPECT = ("cli", "serve", "lessons", "verbs", "inspect", "__init__.py", "types.py")  # the last two give it lazily

REPORT = "import json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
RUN_HELP = """
import sys
sys.argv = ["clearhead", *{arguments!r}]
from clearhead.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def loaded_by(code: str) -> set[str]:
    """Returns the modules that a fresh interpreter holds after ``code``."""
    command = [sys.executable, "-I", "-c", f"{code}\n{REPORT}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_is_light() -> None:
    assert loaded_by("import clearhead") & HEAVY == set()


def test_no_package_is_hidden_by_a_function_of_its_name() -> None:
    """``import clearhead.X.Y as z`` works for every module: no public name stands where a package does."""
    import importlib
    import pkgutil

    package = importlib.import_module("clearhead")
    packages = {module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg}
    assert packages & set(package.__all__) == {"inspect"}, "which is a package that users reach by that name"
    code = "import clearhead\nclearhead.train\nimport clearhead.training.loop as loop\nassert loop.train_loop"
    assert "clearhead.training.loop" in loaded_by(code)


def test_help_is_light() -> None:
    loaded = loaded_by(RUN_HELP.format(arguments=["--help"]))
    assert loaded & HEAVY == set()
    assert len(loaded) <= MOST_MODULES, f"--help loads {len(loaded)} modules"


def test_help_of_each_verb_loads_no_torch() -> None:
    import click

    from clearhead.cli.main import cli

    names = cli.list_commands(click.Context(cli))
    heavy = {verb: loaded_by(RUN_HELP.format(arguments=[verb, "--help"])) & {"torch", "transformers"} for verb in names}
    assert {verb: found for verb, found in heavy.items() if found} == {}


def imported(path: Path) -> list[tuple[str, str | None]]:
    """Returns (module, name or None) for every import statement in a file, wherever it stands."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(source.tree(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [("." * node.level + (node.module or ""), alias.name) for alias in node.names]
    return found


def test_only_verbs_and_above_see_inspect() -> None:
    wrong = [
        source.name(path)
        for path in source.modules(source.PACKAGE)
        if path.relative_to(source.PACKAGE).parts[0] not in MAY_INSPECT
        if any(f"{module}.{name}.".startswith("clearhead.inspect.") for module, name in imported(path))
    ]
    assert wrong == []


def test_names_come_from_the_module_that_defines_them() -> None:
    """Our own ``__init__`` files are ways in for users; inside, an import says where a thing lives."""
    wrong = [
        f"{source.name(path)}: from {module} import {name}"
        for path in source.modules(source.PACKAGE)
        for module, name in imported(path)
        if module.startswith(".") or (name not in {None, "__version__"} and is_passed_on(module, name))
    ]
    assert wrong == []


def is_passed_on(module: str, name: str | None) -> bool:
    """Says whether ``from module import name`` takes our own thing from an ``__init__``, not a submodule."""
    if module.split(".", maxsplit=1)[0] != "clearhead":
        return False
    folder = source.ROOT.joinpath("src", *module.split("."))
    return folder.is_dir() and not ((folder / f"{name}.py").exists() or (folder / f"{name}").is_dir())
