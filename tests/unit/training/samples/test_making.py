"""Samples in the loop: after each evaluation, by the first process alone, and without a trace in training."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clearhead.errors import DataError
from clearhead.manifest import checkpoints_of
from clearhead.training.config import ValidationConfig
from clearhead.training.distributed import Ranks
from clearhead.training.events import Evaluated, Event, Finished, Noted, Sampled, SampledLine
from clearhead.training.loop import Work, train_loop
from clearhead.training.samples import making
from clearhead.training.samples.making import samples_by
from tests.unit.training.length.test_budget import TWO_MINUTES, Clocked
from tests.unit.training.test_loop import OPTIM, TRAIN, Toy, new_state


def sampling(folder: Path, sample: Any, *, rank: int = 0, monkeypatch: pytest.MonkeyPatch | None = None) -> list[Event]:
    """Runs with samples, as the process ``rank`` of two that need not wait for each other."""
    toy = Toy(new_state())
    if monkeypatch is not None:
        monkeypatch.setattr(making, "ranks", lambda: Ranks(rank, 1))
    work = Work(toy.batches, toy.loss_of, toy.evaluate, sample=sample)
    train = dataclasses.replace(TRAIN, evaluate_every=3)
    return list(train_loop(toy.state, work, folder, train, optim=OPTIM, validation=ValidationConfig()))


@pytest.mark.unchecked  # the checks of shapes draw from Python's generator
def test_samples_follow_each_evaluation_and_change_nothing(tmp_path: Path) -> None:
    modes: list[bool] = []

    def sample(model: nn.Module) -> tuple[list[SampledLine], dict[str, float]]:
        modes.append(model.training or torch.is_grad_enabled() or not torch.is_inference_mode_enabled())
        torch.rand(3), np.random.random(3), random.random()
        return [SampledLine("given", "wanted", f"made {len(modes)}")], {"chrf": 1.0}

    events = sampling(tmp_path / "with", sample)
    order = [type(event) for event in events if isinstance(event, Evaluated | Sampled)]
    assert order == [Evaluated, Sampled] * 3
    assert [event.lines[0].made for event in events if isinstance(event, Sampled)] == ["made 1", "made 2", "made 3"]
    assert modes == [False] * 3
    sampling(tmp_path / "without", lambda model: ((), {}))
    for first, second in zip(checkpoints_of(tmp_path / "with"), checkpoints_of(tmp_path / "without"), strict=True):
        for name in ("model.safetensors", "optimizer.safetensors", "ema.safetensors"):
            assert (first / name).read_bytes() == (second / name).read_bytes()
        states = [json.loads((path / "state.json").read_bytes()) for path in (first, second)]
        assert states[0]["generators"] == states[1]["generators"]


def test_samples_that_cannot_be_made_are_told_and_training_goes_on(tmp_path: Path) -> None:
    def sample(model: nn.Module) -> Any:
        raise DataError("text 'x': has none")

    events = sampling(tmp_path, sample)
    assert [event.line for event in events if isinstance(event, Noted)] == [
        f"there are no samples at step {step}: text 'x': has none" for step in (3, 6, 9)
    ]
    assert isinstance(events[-1], Finished)


def test_another_process_than_the_first_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(model: nn.Module) -> Any:
        raise AssertionError("this is the second process")

    assert not [e for e in sampling(tmp_path, sample, rank=1, monkeypatch=monkeypatch) if isinstance(e, Sampled)]


def test_their_time_is_that_of_the_evaluation_in_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Clocked(new_state(), monkeypatch)

    def sample(model: nn.Module) -> tuple[list[SampledLine], dict[str, float]]:
        toy.now += 3.0
        return [SampledLine("g", "w", "m")], {}

    work = Work(toy.batches, toy.loss_of, toy.evaluate, sample=sample)
    list(train_loop(toy.state, work, tmp_path, TWO_MINUTES, optim=OPTIM, validation=ValidationConfig()))
    assert toy.state.sizing is not None
    assert toy.state.sizing.costs.evaluation == pytest.approx(4.0 + 3.0)
    assert toy.now == pytest.approx(120, rel=0.05)


def test_sharded_weights_make_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "is_sharded", lambda module: True)
    assert samples_by(new_state(), lambda model: pytest.fail("all processes would have to")) == []


def test_compiled_layers_run_as_they_are_written() -> None:
    state = new_state()
    compiled: list[object] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    double = torch.compile(lambda x: x * 2, backend=backend)

    def sample(model: nn.Module) -> tuple[list[SampledLine], dict[str, float]]:
        return [SampledLine("g", "w", str(float(double(torch.ones(1)))))], {}

    (event,) = samples_by(state, sample, compiled=True)
    assert isinstance(event, Sampled)
    assert event.lines[0].made == "2.0"
    assert not compiled
    samples_by(state, sample)
    assert compiled
