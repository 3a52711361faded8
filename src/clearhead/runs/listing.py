"""Lists the checkpoints of a run: step, scores, sizes, and whether the files are undamaged."""

import contextlib
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearhead.checkpoint import tensor_sizes, verify_checkpoint
from clearhead.errors import ModelError
from clearhead.manifest import checkpoints_of, read_state
from clearhead.runs.pointers import find_checkpoint
from clearhead.runs.recipes import check_beside, load_recipe


@dataclass
class SavedCheckpoint:
    """What is known about one checkpoint of a run."""

    path: Path
    step: int | None = None
    """None if ``state.json`` cannot be read."""
    scores: dict[str, float] = field(default_factory=dict)
    """Of the evaluation at this step; empty if this step was not evaluated."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of the weights (model), their average (ema) and each slot of the optimizers."""
    bytes: int = 0
    """Of all files of the checkpoint."""
    marks: list[str] = field(default_factory=list)
    """The pointers that name it: best, latest, both or neither."""
    verified: bool = False
    """Whether its files were compared with their checksums."""
    problem: str = ""
    """Error message if a file is damaged or missing; empty otherwise."""

    def as_dict(self) -> dict[str, Any]:
        """Returns all fields as plain values, for JSON."""
        return {**vars(self), "path": str(self.path)}


def saved_checkpoints(run: Path, *, verify: bool = False) -> list[SavedCheckpoint]:
    """Returns the checkpoints of a run in the order of their steps, followed by averages of checkpoints.

    Args:
        run: the run directory.
        verify: compare every file with its checksum in the manifest.

    Raises:
        ModelError: ``run`` is not a run directory.
    """
    load_recipe(run)
    pointers: dict[str, list[str]] = {}
    for which in _pointers_of(run):
        with contextlib.suppress(ModelError):  # said by ``other_problems``
            path = find_checkpoint(run, which)
            pointers.setdefault(path.name if path else "", []).append(which)
    averages = sorted((run / "checkpoints").glob("average-*[0-9]"))
    return [_described(path, pointers.get(path.name, []), verify) for path in [*checkpoints_of(run), *averages]]


def other_problems(run: Path, *, verify: bool = False) -> list[str]:
    """Says what is wrong with a run besides its checkpoints.

    Args:
        run: its directory.
        verify: checks the run's own tokenizers and labels too.

    Returns:
        A line for each file: a pointer to a checkpoint that is not there, a tokenizer that is damaged.
    """
    checks: list[Callable[[], object]] = [functools.partial(find_checkpoint, run, w) for w in _pointers_of(run)]
    problems = []
    if verify:
        checks.append(functools.partial(check_beside, run))
    for check in checks:
        try:
            check()
        except ModelError as error:
            problems.append(str(error))
    return problems


def _pointers_of(run: Path) -> list[str]:
    return [which for which in ("best", "latest") if os.path.lexists(run / "checkpoints" / which)]


def _described(path: Path, marks: list[str], verify: bool) -> SavedCheckpoint:
    saved = SavedCheckpoint(path, marks=marks, verified=verify)
    try:
        saved.bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        saved.sizes = tensor_sizes(path)
        if verify:
            verify_checkpoint(path, offer=False)
        state = read_state(path)
        saved.step = int(state["step"])
        # the scores are those of the last evaluation, which may have been at an earlier step
        if state.get("evaluated_step", state["step"]) == state["step"]:
            saved.scores = {name: float(value) for name, value in state.get("scores", {}).items()}
    except ModelError as error:
        saved.problem = str(error)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        saved.problem = f"checkpoint file {str(path / 'state.json')!r} is damaged: {str(error)[:200]}"
    except OSError as error:
        saved.problem = f"checkpoint file {str(path)!r} cannot be read: {error.strerror}"
    return saved
