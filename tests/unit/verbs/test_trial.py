"""The dry run's numbers: counted, not guessed; the curve of the learning rate."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clearhead.config import merge
from clearhead.messages import translated
from clearhead.tasks import room
from clearhead.tasks.catalog import prepare_job
from clearhead.training.length.budget import Costs, Decision, Sizing
from clearhead.verbs.trial import Trial, dry_run, lr_curve, try_steps
from tests.toy import CLASSIFY, RECIPE, write_recipe


def test_sizes_are_those_of_the_run(toy_data: Path) -> None:
    job = prepare_job(RECIPE, "here", toy_data)
    found = try_steps(job, steps=2)
    src, tgt = job.train.lengths
    assert found.parameters == sum(parameter.numel() for parameter in job.state.model.parameters())
    longest = max(found.shapes["src_ids"][1], found.shapes["tgt_ids"][1])
    plan, width = job.first_epoch()[0], np.maximum(src, tgt)
    sizes = [len(rows) * int(width[rows].max()) for rows in plan]
    assert found.shapes["src_ids"][0] * (longest - 1) == max(sizes), "the first step is on the most positions"
    assert found.shapes["src_ids"][0] == found.shapes["targets"][0]
    assert 0.5 < found.padding_efficiency <= 1
    assert found.batches_per_epoch == pytest.approx((tgt + 1).sum() / 600, abs=2)
    assert found.minutes == pytest.approx(found.seconds_per_step * 120 / 60)
    assert found.tokens_per_second > 0
    assert 100 < found.peak_memory_mb < 100_000
    text = "\n".join(found.lines())
    assert f"batches: {found.batches_per_epoch:,} an epoch" in text
    assert " tokens/s" in text
    assert torch.is_grad_enabled()


def test_a_step_that_takes_too_long_is_the_measure(toy_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr("clearhead.verbs.trial.time.perf_counter", lambda: float(next(clock)))
    job = prepare_job(RECIPE, "here", toy_data)
    assert try_steps(job, steps=3, patience=1.5).seconds_per_step == 1, "begun at 0, the largest batch from 1 to 2"
    assert next(clock) == 3


def test_a_classifier_is_tried_with_all_its_layers_learning(toy_classifier: Path, labelled: Path) -> None:
    tree = merge(CLASSIFY, {"start": str(toy_classifier), "finetune": {"unfreeze_every": 3}})
    job = prepare_job(tree, "here", labelled)
    found = try_steps(job, steps=1)
    assert " lines/s" in "\n".join(found.lines())
    assert all(parameter.requires_grad for parameter in job.state.model.parameters())
    assert found.minutes == pytest.approx(found.seconds_per_step * job.max_steps / 60)
    plan, lengths = job.first_epoch()[0], job.train.rows.lengths
    assert np.prod(found.shapes["ids"]) == max(len(rows) * int(lengths[rows].max()) for rows in plan)


def test_the_curve_rises_and_falls(toy_data: Path) -> None:
    train = {"max_steps": 100, "warmup_steps": 50, "lr": 0.25}
    tree = merge(RECIPE, {"optim": {"schedule": "cosine"}, "train": train})
    line, peak = lr_curve(prepare_job(tree, "here", toy_data), columns=20).split(" ", 1)
    assert peak == "peak 0.25"
    heights = ["▁▂▃▄▅▆▇█".index(mark) for mark in line]
    top = heights.index(7)
    assert len(heights) == 20
    assert heights[:top] == sorted(heights[:top])
    assert heights[top:] == sorted(heights[top:], reverse=True)
    assert heights[-1] == 0
    assert 7 <= top <= 10


@pytest.mark.long
def test_a_model_without_room_is_planned_and_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "memory_limit", lambda device: 10_000)
    tried = dry_run(write_recipe(tmp_path / "toy.toml", RECIPE), tmp_path / "no such text", [])
    assert tried.job is None
    assert "this machine has 9.77 KiB of memory" in tried.refused
    assert tried.memory is not None
    assert tried.memory.memory["peak"] > 10_000


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (0.00329, "0.197 seconds"),
        (0.4, "24 seconds"),
        (1.0, "1 minutes"),
        (12.34, "12.3 minutes"),
        (99.96, "100 minutes"),
        (1234.5, "1,234 minutes"),
    ],
)
def test_a_length_has_three_digits_and_is_in_seconds_below_a_minute(minutes: float, said: str) -> None:
    trial = Trial(1, 1.0, 1, {}, 0.1, 1.0, 1.0, minutes, "tokens")
    assert trial.lines()[-1] == f"the run: about {said} without evaluation"
    sizing = Sizing(minutes, 0, 90, 5, (Decision(0, 0.0, 90),), Costs(0.1, 1.0))
    bounded = replace(trial, sizing=sizing)
    assert bounded.lines()[-1].startswith(f"the run: about {said}, bounded by train.max_minutes: 90 steps, ")
    assert translated(trial.lines()[-1]).endswith("，不含评估")
    assert not {"seconds", "minutes"} & set(translated(trial.lines()[-1]).split())


def test_a_budget_is_said_with_its_steps_and_its_schedule(toy_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr("clearhead.verbs.trial.time.perf_counter", lambda: float(next(clock)))
    train = {"max_steps": 0, "max_minutes": 2.0, "warmup_steps": 50, "evaluate_every": 40}
    job = prepare_job(merge(RECIPE, {"optim": {"schedule": "cosine"}, "train": train}), "here", toy_data)
    found = try_steps(job, steps=2)
    assert found.sizing is not None
    assert found.lines()[-1] == (
        "the run: about 2 minutes, bounded by train.max_minutes: 116 steps, 12 of warm-up; an evaluation takes 1 s"
    ), "120 seconds: an evaluation before the decision, then 116 steps of a second and 3 evaluations"
    assert found.minutes == 2.0
    line = lr_curve(job, found.sizing, columns=20)
    assert (line[1], line[19]) == ("█", "▁")
    bounded = prepare_job(merge(RECIPE, {"train": {**train, "max_steps": 90}}), "here", toy_data)
    assert try_steps(bounded, steps=2).lines()[-1] == (
        "the run: about 1.57 minutes, bounded by train.max_steps: 90 steps, 50 of warm-up; an evaluation takes 1 s"
    )
