"""Folders that a suite makes once, whichever of its processes asks first; every test reads them and none changes them.

A test that changes such a run copies it first: ``shutil.copytree(toy_run, tmp_path / "run")``.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def make_once(suite: Path, name: str, make: Callable[[Path], object]) -> Path:
    """Returns the folder ``name`` of the suite; ``make`` fills it unless a process has done so already."""
    folder = suite / name
    with FileLock(suite / f"{name}.lock"):
        if not _stamps(folder).exists():
            shutil.rmtree(folder, ignore_errors=True)  # half made: the process that made it failed
            folder.mkdir()
            make(folder)
            _stamps(folder).write_text(json.dumps(stamps_of(folder)), encoding="utf-8")
    return folder


def changed_files(folder: Path) -> list[str]:
    """Names the files that were added, removed or written to after the folder was made."""
    before, now = json.loads(_stamps(folder).read_text(encoding="utf-8")), stamps_of(folder)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def stamps_of(folder: Path) -> dict[str, list[int]]:
    """Returns size and time of the last change of every file, by its path in the folder."""
    stats = {str(path.relative_to(folder)): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _stamps(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.stamps")
