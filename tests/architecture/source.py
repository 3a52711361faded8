"""The project's files as the architecture tests read them: lists, syntax trees, line counts."""

import ast
import functools
import importlib.machinery
import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "clearhead"
UNIT_TESTS = ROOT / "tests" / "unit"
PYTHON_FOLDERS = ("src", "tests", "benchmarks", "examples")


def name(path: Path) -> str:
    """Returns a path as it is written in messages, from the root with slashes."""
    return path.relative_to(ROOT).as_posix()


def modules(folder: Path) -> list[Path]:
    """Returns every Python file below ``folder``."""
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def all_python() -> list[Path]:
    """Returns every Python file of the project."""
    return [path for folder in PYTHON_FOLDERS for path in modules(ROOT / folder)]


@functools.cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(text(path), filename=name(path))


def lines(path: Path) -> int:
    return len(text(path).splitlines())


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Returns every function and method of a module, nested ones too."""
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@functools.cache
def script(file_name: str) -> ModuleType:
    """Returns a script of ``scripts/``, which have no ending, as a module."""
    loader = importlib.machinery.SourceFileLoader(file_name, str(ROOT / "scripts" / file_name))
    spec = importlib.util.spec_from_loader(file_name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def kept_files() -> list[Path]:
    """Returns what is or would be under version control; in an unpacked archive all but environments."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        found = [ROOT / line for line in listed.split("\0") if line]
    else:
        found = [path for path in ROOT.rglob("*") if not {".venv", "__pycache__"} & set(path.parts)]
    return sorted(path for path in found if path.is_file())
