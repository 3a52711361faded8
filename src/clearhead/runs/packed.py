"""Where the packed weights of a run are kept, so that its next use maps them into memory; no torch."""

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from clearhead.errors import ModelError
from clearhead.files import remove
from clearhead.manifest import weights_file
from clearhead.runs.cache import cache_folder
from clearhead.runs.pointers import find_checkpoint
from clearhead.version import VERSION

MOST = 8 << 30  # bytes of packed weights that are kept; the longest unused go first


def packed_path(run: Path, checkpoint: str, *, kind: str) -> Path | None:
    """Returns where the packed weights of a run's checkpoint are, or would be; None if it has no such checkpoint.

    The name stands for all that they are made of: a run that changes has other ones.

    Args:
        run: its directory.
        checkpoint: best, latest, or a checkpoint's name.
        kind: what else decides: how weights are held, and the version of their layout.
    """
    try:
        folder = find_checkpoint(run, checkpoint)
        if folder is None:
            return None
        weights = weights_file(folder)
        beside = [run / "recipe.toml", run / "data-report.json", run / "labels.json", *run.glob("tokenizer/*.json")]
        parts: list[object] = [VERSION, kind, *map(_stamp, [weights, folder / "state.json"])]
        parts += [[path.name, _digest(path)] for path in sorted(beside) if path.is_file()]
    except (OSError, ModelError):
        return None
    return cache_folder() / "packed" / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]}.clearhead"


def make_room(folder: Path, most: int = MOST) -> None:
    """Deletes the packed weights in a folder that were not used for the longest time, until ``most`` bytes are left."""
    for path in unused_longest(folder.glob("*.clearhead"), most):
        remove(path)


def unused_longest(paths: Iterable[Path], most: int) -> list[Path]:
    """Returns the files and folders that were unused for the longest time, without which ``most`` bytes are left."""
    kept = []
    for path in paths:
        with contextlib.suppress(OSError):
            state = path.stat()
            inside = path.rglob("*") if path.is_dir() else []
            size = sum((each.stat().st_size for each in inside), start=state.st_size)
            kept.append((max(state.st_mtime, state.st_atime), size, path))
    size, unused = sum(each for _, each, _ in kept), list[Path]()
    for _, own, path in sorted(kept):
        if size <= most:
            break
        unused.append(path)
        size -= own
    return unused


def _stamp(path: Path) -> list[object]:
    """Returns what changes when a large file is written again."""
    state = path.stat()
    return [str(path.resolve()), state.st_size, state.st_mtime_ns]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
