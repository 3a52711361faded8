"""The checkpoints that a run keeps: what each holds, and whether it is whole."""

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearhead.checkpoint import checkpoints_of, tensor_sizes, verify_checkpoint
from clearhead.errors import ModelError
from clearhead.runs.pointers import find_checkpoint
from clearhead.runs.recipes import load_recipe


@dataclass
class SavedCheckpoint:
    """One checkpoint of a run."""

    path: Path
    step: int | None = None
    """None where its numbers cannot be read."""
    scores: dict[str, float] = field(default_factory=dict)
    """Of the evaluation at this step; none where there was none."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of the weights (model), their average (ema) and each slot of the optimizers."""
    bytes: int = 0
    """Of all files."""
    marks: list[str] = field(default_factory=list)
    """Which pointers name it: best, latest."""
    verified: bool = False
    """Whether every file was checked."""
    problem: str = ""
    """What is wrong with it."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the same as plain values, for JSON."""
        return {**vars(self), "path": str(self.path)}


def saved_checkpoints(run: Path, *, verify: bool = False) -> list[SavedCheckpoint]:
    """Lists the checkpoints of a run by step, then those that are means of others.

    Args:
        run: its directory.
        verify: checks every file against the manifest.

    Raises:
        ModelError: ``run`` is not a run directory.
    """
    load_recipe(run)
    pointers: dict[str, list[str]] = {}
    for which in ("best", "latest"):
        with contextlib.suppress(ModelError):  # a pointer that names nothing names none of these
            path = find_checkpoint(run, which)
            if path is not None and (run / "checkpoints" / which).exists():
                pointers.setdefault(path.name, []).append(which)
    averages = sorted((run / "checkpoints").glob("average-*[0-9]"))
    return [_look_at(path, pointers.get(path.name, []), verify) for path in [*checkpoints_of(run), *averages]]


def _look_at(path: Path, marks: list[str], verify: bool) -> SavedCheckpoint:
    saved = SavedCheckpoint(path, marks=marks, verified=verify)
    saved.bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    try:
        saved.sizes = tensor_sizes(path)
        if verify:
            verify_checkpoint(path, offer=False)
        state = json.loads((path / "state.json").read_bytes())
        saved.step = int(state["step"])
        # a checkpoint carries the scores of the evaluation before it: they are its own where that was at its step
        if state.get("evaluated_step", state["step"]) == state["step"]:
            saved.scores = dict(state.get("scores", {}))
    except ModelError as error:
        saved.problem = str(error)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        saved.problem = f"checkpoint file {str(path / 'state.json')!r} is damaged: {error}"
    return saved
