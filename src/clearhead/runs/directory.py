"""Creates run directories, and writes their small files atomically: the whole new content, or the old one stays."""

import json
import re
from pathlib import Path
from typing import Any

from clearhead.errors import DataError, UsageError
from clearhead.files import write_whole

LEFTOVERS = ("lock", "recipe.toml.tmp")
"""What stands in a directory whose run is being created, or was when its process was killed."""
_MEMBER = re.compile(r"(scratch-)?(fold-\d+-)?seed-\d+")
_SHOWN = 8


def new_run(name: str, parent: Path = Path("runs")) -> Path:
    """Creates ``runs/NAME-NNN`` with the first free number, and returns it.

    Raises:
        DataError: it cannot be created.
        UsageError: all numbers up to 999 are taken.
    """
    try:
        for number in range(1, 1000):
            run = parent / f"{name}-{number:03d}"
            try:
                run.mkdir(parents=True)
            except FileExistsError:
                continue
            return run
    except OSError as error:
        raise DataError(f"run directory in {str(parent)!r} cannot be made: {error.strerror}") from error
    raise UsageError(f"run directory: {name}-001 to {name}-999 exist in {str(parent)!r}; name one with --out")


def check_free(out: Path) -> None:
    """Checks that ``out`` does not exist yet or is empty, so that it can become a run directory.

    Raises:
        UsageError: it already holds a run or other files.
    """
    if (out / "recipe.toml").exists():
        raise UsageError(f"run {str(out)!r} exists: add --resume to go on with it, or name another with --out")
    if any(_MEMBER.fullmatch(name) for name in runs_in(out)):
        raise UsageError(
            f"folder {str(out)!r} holds several runs: add --resume to go on with them, with --seeds or --folds as "
            "before, or name another with --out"
        )
    if out.exists() and (not out.is_dir() or any(path.name not in LEFTOVERS for path in out.iterdir())):
        raise UsageError(f"run directory {str(out)!r} is taken by something else: name another with --out")


def runs_in(folder: Path) -> list[str]:
    """Returns the names of the runs in a folder; those of several seeds or folds from the moment they are created."""
    if folder.name == "checkpoints":  # of a run; each has its recipe in it too
        return []
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
    return [path.name for path in inside if _MEMBER.fullmatch(path.name) or (path / "recipe.toml").exists()]


def listed(names: list[str]) -> str:
    """Returns names as text, the first ones of many."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def create_run(out: Path) -> Path:
    """Creates the directory ``out`` for a new run.

    Raises:
        UsageError: it already holds a run or other files.
        DataError: it cannot be created.
    """
    check_free(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"run directory {str(out)!r} cannot be made: {error.strerror}") from error
    return out


def write_text(path: Path, text: str) -> None:
    """Replaces a small file of a run atomically.

    Raises:
        DataError: the disk is full, or the file may not be written.
    """
    _write(path, text.encode())


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}") from error


def save_json(path: Path, tree: Any) -> None:
    """Replaces a small JSON file of a run atomically; raises as ``write_text`` does."""
    _write(path, json_bytes(tree))


def text_digests(run: Path) -> dict[str, str]:
    """Returns what identifies the text of each split that a run was trained with; of several corpora joined by "+".

    Nothing of a run of an earlier version, or one whose report somebody has edited.
    """
    try:
        splits = json.loads((run / "data-report.json").read_bytes()).items()
        return {split: report["digest"] for split, report in splits if isinstance(report.get("digest"), str)}
    except (OSError, ValueError, AttributeError):
        return {}


def json_bytes(tree: Any) -> bytes:
    """Returns the content of a small JSON file of a run."""
    return (json.dumps(tree, ensure_ascii=False, indent=1) + "\n").encode()
