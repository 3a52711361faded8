"""A recipe that changes as its run goes on: the same path in other words, the learning rate of the steps to come."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from clearhead.config import as_tree, merge, read_toml
from clearhead.optim.build import build_optimizers
from clearhead.tasks.translation.family import TRANSLATION
from clearhead.training.length.budget import scheduled
from clearhead.training.precision import Decision, PrecisionName
from clearhead.training.state import TrainState
from clearhead.verbs.resumed import changed_keys, rate_note, with_paths_of, with_precision_of
from clearhead.verbs.train import RESUMABLE, train
from tests.toy import RECIPE, write_recipe


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


def test_long_fractions_have_three_digits_where_these_differ() -> None:
    changes = {
        "train.max_minutes": (5.0, 25 / 60),
        "train.lr": (0.0012345678, 0.0012345679),
        "train.max_steps": (100_000_000_000, 6),
        "validation.monitor": ("loss", "bleu"),
    }
    assert changed_keys(changes) == [
        "recipe: train.max_minutes = 0.417, was 5.0",
        "recipe: train.lr = 0.0012345679, was 0.0012345678",
        "recipe: train.max_steps = 6, was 100000000000",
        "recipe: validation.monitor = 'bleu', was 'loss'",
    ]


@pytest.mark.parametrize("page", ["translation.md", "reliability.md", "zh/translation.md", "zh/reliability.md"])
def test_the_pages_name_every_key_that_may_change(page: str) -> None:
    docs = Path(__file__).resolve().parents[3] / "docs"
    text = (docs / page).read_text(encoding="utf-8")
    assert [key for key in RESUMABLE if f"`{key}`" not in text] == []


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


def test_auto_is_what_the_run_has_decided_on() -> None:
    auto, half = {"train": {"precision": "auto", "lr": 1.0}}, {"train": {"precision": "bfloat16", "lr": 2.0}}
    assert with_precision_of(half, auto) == {"train": {"precision": "bfloat16", "lr": 1.0}}
    assert with_precision_of({}, auto)["train"]["precision"] == "float32", "of a version before auto"
    assert with_precision_of({"train": {"precision": "float32"}}, half) == half, "which --resume refuses"
    assert with_precision_of({}, {"task": "ngram"}) == {"task": "ngram"}


def test_a_run_in_bfloat16_goes_on_to_the_bit_where_auto_would_be_float32(
    toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deciding(name: PrecisionName) -> None:
        monkeypatch.setattr("clearhead.training.job.decide", lambda *args: Decision(name, "cpu"))
        monkeypatch.setattr("clearhead.verbs.resumed.has_bfloat16", lambda device: name == "bfloat16")

    recipe, weights = write_recipe(tmp_path / "toy.toml"), "checkpoints/step-00000006/model.safetensors"
    steps = {name: [f"train.max_steps={count}"] for name, count in (("whole", 6), ("part", 3), ("single", 6))}
    deciding("bfloat16")
    runs = {name: tmp_path / name for name in steps}
    for name in ("whole", "part"):
        train(recipe, data=toy_data, out=runs[name], overrides=steps[name])
    deciding("float32")
    result = train(
        recipe, data=toy_data, out=runs["part"], overrides=[*steps["whole"], "train.precision=auto"], resume=True
    )
    train(recipe, data=toy_data, out=runs["single"], overrides=steps["single"])
    assert read_toml(runs["part"] / "recipe.toml")["train"]["precision"] == "bfloat16"
    contents = {name: (run / weights).read_bytes() for name, run in runs.items()}
    assert contents["part"] == contents["whole"] != contents["single"]
    (note,) = (line for line in result.notes if "precision" in line)
    assert note.startswith("train.precision = 'bfloat16': this cpu has no instructions for it")
