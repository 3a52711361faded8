"""What a changed recipe or text means for a run that goes on: which paths are the same, how the rate goes on."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clearhead.config import Tree, as_tree, differences, merge, table
from clearhead.errors import DataError
from clearhead.runs.directory import text_digests
from clearhead.training.job import GradientJob, Job
from clearhead.training.length.budget import scheduled
from clearhead.training.precision import has_bfloat16

RATE_KEYS = {
    *(f"train.{name}" for name in ("max_steps", "warmup_steps", "lr", "batch_tokens", "grad_accum_steps")),
    *(f"optim.{name}" for name in ("schedule", "min_lr_factor", "cycle_steps", "decay_fraction", "name")),
    "finetune.epochs",
}
"""Keys on which the learning rate of a step depends; the size of a step decides how many make an epoch."""
LONGEST = 8  # characters of a fraction that is shown as it is


def check_same_text(job: Job, run: Path, folder: Path) -> None:
    """Checks that the text is the one that the run was trained on, else the position in its batches means nothing.

    Raises:
        DataError: it is another text.
    """
    digests = text_digests(run)
    for split, report in job.reports().items():
        now = report.as_dict().get("digest")
        if digests.get(split) and now and digests[split] != now:
            raise DataError(
                f"data {str(folder)!r}: split {split!r} is not the text that run {str(run)!r} was trained on; "
                "--allow-change data goes on with it"
            )


def changed_keys(differing: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Returns a line for each key that differs, given (before, after); long fractions have three digits."""
    lines = []
    for key, values in differing.items():
        before, after = (
            f"{value:.3g}" if isinstance(value, float) and len(repr(value)) > LONGEST else repr(value)
            for value in values
        )
        if before == after:
            before, after = map(repr, values)
        lines.append(f"recipe: {key} = {after}, was {before}")
    return lines


def with_paths_of(kept: Tree, wanted: Tree, folder: Path = Path()) -> Tree:
    """Returns the recipe ``wanted`` with the paths of ``kept`` wherever both name the same place.

    Args:
        kept: the recipe of the run.
        wanted: the recipe that it is resumed with.
        folder: what relative paths are relative to.
    """
    same: Tree = {}
    if _same(kept, wanted, "start", lambda old, new: _same_model(old, new, folder)):
        same["start"] = kept["start"]
    old_data, new_data = table(kept, "data"), table(wanted, "data")
    splits = [split for split in ("train", "valid", "test") if _same(old_data, new_data, split, _same_name)]
    if splits:
        same["data"] = {split: old_data[split] for split in splits}
    return merge(wanted, same)


def with_precision_of(kept: Tree, wanted: Tree) -> Tree:
    """Returns the recipe ``wanted`` with the precision of the run where it says ``auto``.

    A run has decided on it before its first step; where it has not, it is of a version whose precision was float32.
    """
    if table(wanted, "train").get("precision") != "auto":
        return wanted
    return merge(wanted, {"train": {"precision": table(kept, "train").get("precision", "float32")}})


def precision_note(job: GradientJob[Any, Any]) -> str:
    """Says that a run goes on in bfloat16 on a device without instructions for it; else returns ""."""
    if job.settings.numbers != "bfloat16" or has_bfloat16(job.device):
        return ""
    return (
        f"train.precision = 'bfloat16': this {job.device.type} has no instructions for it, so steps are slower and "
        "their last bits may differ; --allow-change train.precision goes on in another"
    )


def _same(old: Mapping[str, Any], new: Mapping[str, Any], key: str, compare: Callable[[str, str], bool]) -> bool:
    before, after = old.get(key), new.get(key)
    return isinstance(before, str) and isinstance(after, str) and bool(before and after) and compare(before, after)


def _same_name(old: str, new: str) -> bool:
    """Whether two file names within the folder of the text are the same."""
    return os.path.normpath(old) == os.path.normpath(new)


def _same_model(old: str, new: str, folder: Path) -> bool:
    """Whether two paths lead to the same directory: relative or not, through links or not.

    The run may have been started in another folder than it is resumed in. So a relative path of its recipe that leads
    nowhere from here is the same as one that ends like it.
    """
    before, after = (folder / old).resolve(), (folder / new).resolve()
    if before == after:
        return True
    tail = Path(os.path.normpath(old)).parts
    relative = not Path(old).is_absolute() and ".." not in tail
    return relative and not before.exists() and after.parts[-len(tail) :] == tail


def rate_note(job: GradientJob[Any, Any], before: Tree, *, new_text: bool = False) -> str:
    """Says how the learning rate goes on, if a change may have moved it; else, or if no step is left, returns "".

    A run with a budget of time decides on its length as it begins, and says so itself.

    Args:
        job: the resumed run; its state is that of the checkpoint.
        before: the recipe of the run until now.
        new_text: whether the text may differ, which decides how many steps make an epoch.
    """
    changed = differences(before, as_tree(job.recipe)).keys()
    state, settings, optim = job.state, job.settings, job.recipe.optim
    moved = changed & RATE_KEYS or (new_text and settings is not job.recipe.train)
    if settings.max_minutes or not moved or not 0 < state.step < settings.max_steps:
        return ""
    now = state.optimizers.first_rate
    following, last = (
        state.optimizers.first_peak * scheduled(step, settings, optim) for step in (state.step + 1, settings.max_steps)
    )
    return (
        f"learning rate: {now:.3g} at step {state.step}, {following:.3g} at step {state.step + 1}, "
        f"{last:.3g} at the last, {settings.max_steps}; optim.schedule = {optim.schedule!r}"
    )
