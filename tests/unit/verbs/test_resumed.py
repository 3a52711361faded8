"""A recipe that changes as its run goes on: the same path in other words, the learning rate of the steps to come."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from clearhead.config import as_tree, merge
from clearhead.optim.build import build_optimizers
from clearhead.tasks.translation.family import TRANSLATION
from clearhead.training.length.budget import scheduled
from clearhead.training.state import TrainState
from clearhead.verbs.resumed import rate_note, with_paths_of
from tests.toy import RECIPE


@pytest.mark.parametrize(
    ("kept", "wanted", "same"),
    [
        ("runs/a", "runs/a/", True),
        ("runs/a", "./runs/a", True),
        ("runs/a", "runs/../runs//a", True),
        ("runs/a", "{here}/runs/a", True),
        ("{here}/runs/a", "runs/a", True),
        ("runs/a", "link", True),
        ("{here}/link/", "runs/a", True),
        ("elsewhere/b", "/srv/me/elsewhere/b", True),
        ("elsewhere/b", "/srv/me/b", False),
        ("runs/a", "/srv/me/runs/a", False),
        ("../a", "/srv/a", False),
        ("runs/a", "runs/b", False),
        ("runs/a", "", False),
    ],
)
def test_paths_are_compared_as_paths(kept: str, wanted: str, same: bool, tmp_path: Path) -> None:
    """A relative path that leads nowhere here was written in another folder."""
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "runs" / "a")
    before, after = ({"start": path.format(here=tmp_path), "data": {"train": "train"}} for path in (kept, wanted))
    assert with_paths_of(before, after, tmp_path) == (before if same else after)


def test_names_of_splits_are_paths_too() -> None:
    before = {"data": {"train": "part/train", "valid": "valid", "workers": 0}}
    after = {"data": {"train": "./part//train", "valid": "other", "workers": 2}}
    expected = {"data": {"train": "part/train", "valid": "other", "workers": 2}}
    assert with_paths_of(before, after) == expected


def job(changes: dict[str, Any], *, step: int = 3, **settings: Any) -> Any:
    """A run at ``step``, trained until then by the recipe of ``BEFORE``."""
    recipe = TRANSLATION.parse(merge(BEFORE, changes), "test")
    before = TRANSLATION.parse(BEFORE, "test")
    optimizers = build_optimizers(nn.Linear(1, 1), recipe.optim, recipe.train.lr)
    state = TrainState(nn.Linear(1, 1), optimizers, step=step)
    for group in optimizers.parts[0].param_groups:
        group["lr"] = before.train.lr * scheduled(step, before.train, before.optim)
    return SimpleNamespace(
        recipe=recipe, settings=replace(recipe.train, **settings) if settings else recipe.train, state=state
    )


BEFORE = merge(RECIPE, {"optim": {"schedule": "linear"}, "train": {"max_steps": 5, "warmup_steps": 1, "lr": 0.1}})
OLD = as_tree(TRANSLATION.parse(BEFORE, "test"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": {"max_steps": 9}}, "0.05 at step 3, 0.0625 at step 4, 0 at the last, 9; optim.schedule = 'linear'"),
        ({"train": {"lr": 0.2}}, "0.05 at step 3, 0.05 at step 4, 0 at the last, 5; optim.schedule = 'linear'"),
        ({"optim": {"min_lr_factor": 0.5}}, "0.05 at step 3, 0.0625 at step 4, 0.05 at the last, 5; "),
        ({"optim": {"schedule": "constant"}}, "0.05 at step 3, 0.1 at step 4, 0.1 at the last, 5; "),
        ({"train": {"max_steps": 3}}, ""),
        ({"train": {"evaluate_every": 2}}, ""),
    ],
)
def test_how_the_learning_rate_goes_on_is_said(changes: dict[str, Any], said: str) -> None:
    note = rate_note(job(changes), OLD)
    assert note.startswith(f"learning rate: {said}") if said else note == ""


def test_nothing_is_said_of_a_run_that_begins() -> None:
    assert rate_note(job({"train": {"max_steps": 9}}, step=0), OLD) == ""


def test_other_text_may_change_the_schedule_of_a_run_that_counts_in_epochs() -> None:
    assert rate_note(job({}, max_steps=9), OLD, new_text=True).startswith("learning rate: 0.05 at step 3, 0.0625 at")
    assert rate_note(job({}), OLD, new_text=True) == ""
