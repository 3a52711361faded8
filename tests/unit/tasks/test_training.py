"""From a recipe to a run through Python: resumed as if never stopped, with everything switched on."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

import clearhead
from clearhead.checkpoint import load_checkpoint
from clearhead.config import merge, read_toml
from clearhead.data.translation import Batch
from clearhead.errors import ClearheadError, UsageError
from clearhead.tasks import translation
from clearhead.tasks.training import TrainResult, train
from clearhead.train.events import Event, Finished, Stepped
from clearhead.train.writers import read_metrics
from tests.toy import RECIPE, write_recipe

CHANGES = {
    "tokenizer": {"dropout": 0.1, "kind": "bpe", "joint": False},
    "model": {"d_model": 16, "d_ff": 16, "dropout": 0.2, "tie": "decoder"},
    "train": {"max_steps": 9, "grad_accum_steps": 2, "batch_tokens": 200, "checkpoint_every": 0},
}


class Probe:
    """A writer that remembers events, and sends a signal after a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.events, self.closed = stop_at, list[Event](), 0

    def write(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Stepped) and event.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Which pairs each batch of a training step held."""
    seen: list[list[int]] = []
    plain = translation.batch_loss

    def noted(model: torch.nn.Module, batch: Batch, *rest: object):  # type: ignore[no-untyped-def]
        if model.training:
            seen.append(batch.indices.tolist())
        return plain(model, batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(translation, "batch_loss", noted)
    return seen


def run(folder: Path, data: Path, probe: Probe, *, resume: bool = False) -> TrainResult:
    recipe = write_recipe(folder.with_suffix(".toml"), merge(RECIPE, CHANGES))
    return train(recipe, data=data, out=folder, resume=resume, writers=[probe])


@pytest.mark.parametrize("stop_at", [2, 5])
def test_a_run_that_was_stopped_by_a_signal_ends_like_one_that_was_not(
    stop_at: int, toy_data: Path, tmp_path: Path, order: list[list[int]]
) -> None:
    """Weights, optimizer, moving average and order of batches, with dropout in model and tokenizer."""
    whole = run(tmp_path / "whole", toy_data, Probe())
    expected_order = list(order)
    order.clear()
    before = signal.getsignal(signal.SIGTERM)
    first = run(tmp_path / "run", toy_data, Probe(stop_at))
    assert (first.step, first.reason, first.signal) == (stop_at, "interrupted", signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    probe = Probe()
    second = run(tmp_path / "run", toy_data, probe, resume=True)
    assert (second.step, second.reason, second.signal) == (9, "max_steps", None)
    assert order == expected_order
    assert second.scores == whole.scores
    a, b = (load_checkpoint(tmp_path / name / "checkpoints" / "step-00000009") for name in ("whole", "run"))
    assert a.tensors.keys() == b.tensors.keys() == {"model", "ema", "optimizer"}
    for stem, tensors in a.tensors.items():
        assert [name for name in tensors if not torch.equal(tensors[name], b.tensors[stem][name])] == []
    # Python's own generator is not asked by us, but by the checks of shapes that these tests run under
    drawn = [one.state["generators"].pop("python") for one in (a, b)]
    assert all(drawn)
    assert {**a.state, "seconds": 0} == {**b.state, "seconds": 0}
    metrics = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "run")]
    losses = [[(one["step"], one["loss"]) for one in lines if one["event"] == "stepped"] for lines in metrics]
    assert losses[0] == losses[1]
    assert [step for step, _ in losses[1]] == list(range(1, 10))
    assert (probe.closed, probe.events[-1]) == (1, Finished(9, "max_steps"))


def test_the_run_keeps_the_whole_recipe_and_the_report(toy_run: Path) -> None:
    tree = read_toml(toy_run / "recipe.toml")
    assert merge(tree, RECIPE) == tree
    assert tree["optim"]["betas"] == [0.9, 0.98], "defaults are written out"
    report = json.loads((toy_run / "data-report.json").read_text(encoding="utf-8"))
    for split in ("train", "valid"):
        side = report[split]["src"]
        assert side["tokens_in"] == side["tokens_used"] + side["tokens_dropped"] > 0


def test_writers_are_closed_after_an_error(toy_data: Path, tmp_path: Path) -> None:
    class Broken(Probe):
        def write(self, event: Event) -> None:
            raise OSError(28, "No space left on device")

    broken, other = Broken(), Probe()
    recipe = write_recipe(tmp_path / "toy.toml")
    with pytest.raises(ClearheadError, match="cannot be written: No space left on device"):
        train(recipe, data=toy_data, out=tmp_path / "run", writers=[broken, other])
    assert (broken.closed, other.closed) == (1, 1)


def test_a_run_without_a_name_gets_a_number(toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(tmp_path / "toy.toml")
    found = [train(recipe, data=toy_data, overrides=["train.max_steps=1"]).run for _ in range(2)]
    assert found == [Path("runs/toy-001"), Path("runs/toy-002")]
    with pytest.raises(UsageError, match="name the run with --out"):
        train(recipe, data=toy_data, resume=True)


def test_the_public_name_stays_the_function() -> None:
    """The package ``clearhead.train`` has the same name, and Python binds it when a module of it is loaded."""
    assert [clearhead.train for _ in range(2)] == [train] * 2
