"""From a recipe to a run through Python: resumed as if never stopped, with everything switched on."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import clearhead
from clearhead.checkpoint import load_checkpoint
from clearhead.config import merge, read_toml
from clearhead.data.translation import Batch
from clearhead.errors import ClearheadError, DataError, ModelError, UsageError
from clearhead.runs.pointers import find_checkpoint
from clearhead.tasks.translation import job as translation_job
from clearhead.tasks.translation.corpora import reading
from clearhead.tasks.translation.translator import Translator
from clearhead.training.events import Event, Finished, Stepped
from clearhead.training.job import GradientJob
from clearhead.training.writers import read_metrics
from clearhead.verbs.train import TrainResult, open_run, train, train_run
from tests.limits import HANGS
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
    plain = translation_job.translation_loss

    def noted(model: torch.nn.Module, batch: Batch, *rest: object):  # type: ignore[no-untyped-def]
        if model.training:
            seen.append(batch.indices.tolist())
        return plain(model, batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(translation_job, "translation_loss", noted)
    return seen


def run(folder: Path, data: Path, probe: Probe, *, resume: bool = False) -> TrainResult:
    recipe = write_recipe(folder.with_suffix(".toml"), merge(RECIPE, CHANGES))
    return train(recipe, data=data, out=folder, resume=resume, writers=[probe])


@pytest.mark.long_but(every=2)
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


class Interrupting(Probe):
    """A writer that raises KeyboardInterrupt, or sends SIGINT, after step 2."""

    def __init__(self, *signals: int) -> None:
        super().__init__()
        self.signals = signals

    def write(self, event: Event) -> None:
        super().write(event)
        if isinstance(event, Stepped) and event.step == 2:
            for number in self.signals:
                signal.raise_signal(number)
            if not self.signals:
                raise KeyboardInterrupt


def test_a_writer_ends_a_run_in_any_thread(toy_data: Path, tmp_path: Path) -> None:
    """Where no signal can be handled: it is saved, and goes on."""
    results: list[TrainResult] = []
    thread = threading.Thread(target=lambda: results.append(run(tmp_path / "run", toy_data, Interrupting())))
    thread.start()
    thread.join(HANGS)
    assert [(result.step, result.reason, result.signal) for result in results] == [(2, "interrupted", signal.SIGINT)]
    probe = Probe()
    run(tmp_path / "run", toy_data, probe, resume=True)
    assert [event.step for event in probe.events if isinstance(event, Stepped)] == list(range(3, 10))


@pytest.fixture
def in_a_terminal() -> Iterator[None]:
    """A shell lets what it starts in the background ignore SIGINT, and nohup SIGHUP."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGHUP, before[1])


@pytest.mark.usefixtures("in_a_terminal")
def test_a_second_ctrl_c_raises_at_once(toy_data: Path, tmp_path: Path) -> None:
    probe = Interrupting(signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", toy_data, probe)
    assert (probe.closed, signal.getsignal(signal.SIGINT)) == (1, signal.default_int_handler)
    assert not (tmp_path / "run" / "lock").exists()
    assert run(tmp_path / "run", toy_data, Interrupting(signal.SIGHUP), resume=True).signal == signal.SIGHUP


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


SMALL = merge(RECIPE, {"model": {"d_model": 16, "d_ff": 16}, "train": {"max_steps": 6, "checkpoint_every": 2}})


@pytest.fixture
def text(toy_data: Path, tmp_path: Path) -> Path:
    """A copy of the corpus that may be changed."""
    return shutil.copytree(toy_data, tmp_path / "text")


def weights(run: Path) -> dict[str, torch.Tensor]:
    latest = find_checkpoint(run, "latest")
    assert latest is not None
    return dict(load_checkpoint(latest).tensors["model"])


def equal(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Jitter(torch.nn.Module):
    """A user's module that draws from the generators of Python and NumPy in its forward pass."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1 + 0.1 * random.gauss(0, 1) + 0.1 * float(np.random.standard_normal()))


def test_what_a_users_module_draws_is_the_same_in_every_run_resumed_or_not(toy_data: Path, tmp_path: Path) -> None:
    """Nobody has seeded these generators before, and the interruption comes in the midst of an evaluation."""
    recipe = write_recipe(tmp_path / "toy.toml", merge(SMALL, {"train": {"evaluate_every": 3}}))

    def outcome(run: Path, *, interrupted: bool) -> TrainResult:
        random.seed(None)
        np.random.seed(None)
        with open_run(recipe, toy_data, run, resume=True) as begun:
            assert isinstance(begun.job, GradientJob)
            jitter = Jitter()

            def jittered(module: torch.nn.Module, args: object, out: torch.Tensor) -> torch.Tensor:
                if interrupted and not module.training:
                    signal.raise_signal(signal.SIGTERM)
                changed: torch.Tensor = jitter(out)
                return changed

            for model in (begun.job.model, begun.job.state.evaluated_model):
                model.get_submodule("encoder").register_forward_hook(jittered)
            return train_run(begun.job, begun.path)

    whole = outcome(tmp_path / "whole", interrupted=False)
    assert outcome(tmp_path / "run", interrupted=True).step == 3
    assert outcome(tmp_path / "run", interrupted=False).scores == whole.scores
    assert equal(tmp_path / "run", tmp_path / "whole")
    first, second = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "run"))
    for key in ("loss", "scores"):
        assert [record[key] for record in first if key in record] == [record[key] for record in second if key in record]


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_corpus_that_changes_and_vanishes_in_mid_run_changes_nothing(
    workers: int, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does its encoded form, which stays mapped: over more than one epoch."""
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    tree = merge(SMALL, {"data": {"workers": workers}, "train": {"batch_tokens": 300}})
    recipe = write_recipe(tmp_path / "toy.toml", tree)
    whole = train(recipe, data=text, out=tmp_path / "whole")

    class Thief(Probe):
        def write(self, event: Event) -> None:
            if isinstance(event, Stepped) and event.step == 1:
                (text / "train.en").write_text("nothing\n" * 3)
            elif isinstance(event, Stepped) and event.step == 2:
                shutil.rmtree(text)
                shutil.rmtree(tmp_path / "cache")
            super().write(event)

    probe = Thief()
    assert train(recipe, data=text, out=tmp_path / "run", writers=[probe]).scores == whole.scores
    assert {event.epoch for event in probe.events if isinstance(event, Stepped)} == {0, 1}
    assert equal(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("又\n又\n", "train.zh or .*train.en changed"),
        ("了\n", "train.zh changed"),
        (None, "train.zh cannot be read|vanished"),
    ],
)
def test_a_corpus_that_changes_while_it_is_read_is_refused(
    added: str | None, said: str, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first pass over it and the last."""
    recipe, real, file = write_recipe(tmp_path / "toy.toml", SMALL), reading.train_tokenizers, text / "train.zh"

    def changing(*given: Any) -> Any:
        found = real(*given)
        content = file.read_text(encoding="utf-8")
        file.unlink() if added is None else file.write_text(content[:-2] + added, encoding="utf-8")
        return found

    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reading, "train_tokenizers", changing)
    with pytest.raises(DataError, match=said):
        train(recipe, data=text, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_text_is_refused_until_it_is_allowed(text: Path, tmp_path: Path) -> None:
    recipe, run = write_recipe(tmp_path / "toy.toml", SMALL), tmp_path / "run"
    train(recipe, data=text, out=run)
    before = (run / "data-report.json").read_text()
    for split in ("train", "valid"):
        kept = (text / f"{split}.en").read_text()
        (text / f"{split}.en").write_text(kept.replace("I ", "We ", 1).replace("the ", "a ", 1))
        with pytest.raises(DataError, match=f"split '{split}' is not the text that run .*--allow-change data"):
            train(recipe, data=text, out=run, resume=True, overrides=["train.max_steps=7"])
        assert (run / "data-report.json").read_text() == before
        if split == "train":
            (text / f"{split}.en").write_text(kept)
    more = {"resume": True, "overrides": ["train.max_steps=7"], "allow_changes": ["data"]}
    assert train(recipe, data=text, out=run, **more).step == 7  # type: ignore[arg-type]
    assert train(recipe, data=text, out=run, resume=True, overrides=["train.max_steps=8"]).step == 8, (
        "now it is the run's"
    )


def test_the_best_is_chosen_anew_on_another_valid_text(text: Path, tmp_path: Path) -> None:
    recipe, run = write_recipe(tmp_path / "toy.toml", SMALL), tmp_path / "run"
    before = train(recipe, data=text, out=run)
    lines = (text / "valid.en").read_text().splitlines()
    (text / "valid.en").write_text("".join(f"{'QXZJ' * 8}\n" for _ in lines))
    more = {"resume": True, "overrides": ["train.max_steps=8"], "allow_changes": ["data"]}
    after = train(recipe, data=text, out=run, **more)  # type: ignore[arg-type]
    assert after.scores["loss"] > before.scores["loss"] + 0.1
    assert "the text of the valid split changed: the best so far, step 6, does not count" in "\n".join(after.notes)
    best = find_checkpoint(run, "best")
    assert best is not None
    assert best.name == "step-00000008", "its loss is above that of step 6, which was of another text"
    again = train(recipe, data=text, out=run, resume=True, overrides=["train.max_steps=9"])
    assert not any("does not count" in note for note in again.notes)


def test_keys_that_differ_are_told_and_others_need_to_be_allowed(toy_data: Path, tmp_path: Path) -> None:
    recipe, run = write_recipe(tmp_path / "toy.toml", SMALL), tmp_path / "run"
    train(recipe, data=toy_data, out=run)
    changes = ["train.max_steps=7", "train.lr=0.001", "optim.weight_decay=0.5"]
    with pytest.raises(UsageError, match=r"--resume: optim\.weight_decay differs .* --allow-change names them"):
        train(recipe, data=toy_data, out=run, resume=True, overrides=changes, allow_changes=["train.lr"])
    allowed = ["train.lr", "optim.weight_decay"]
    found = train(recipe, data=toy_data, out=run, resume=True, overrides=changes, allow_changes=allowed)
    assert found.notes == (
        "recipe: optim.weight_decay = 0.5, was 0.0",
        "recipe: train.max_steps = 7, was 6",
        "recipe: train.lr = 0.001, was 0.005",
        "learning rate: 0.003 at step 6, 0.0007 at step 7, 0.0007 at the last, 7; optim.schedule = 'constant'",
    )
    assert read_toml(run / "recipe.toml")["train"]["lr"] == 0.001
    with pytest.raises(UsageError, match="add --resume"):
        train(recipe, data=toy_data, out=tmp_path / "new", allow_changes=["train.lr"])


@pytest.mark.long
def test_a_damaged_checkpoint_offers_the_one_before_and_going_back_leads_to_the_same_end(
    toy_data: Path, tmp_path: Path
) -> None:
    recipe, run = write_recipe(tmp_path / "toy.toml", SMALL), tmp_path / "run"
    train(recipe, data=toy_data, out=run)
    shutil.copytree(run, tmp_path / "whole")
    (run / "checkpoints" / "step-00000006" / "tokenizer" / "joint.json").write_bytes(b"{}")
    with pytest.raises(ModelError, match=r"joint\.json' has 2 bytes.*; the earlier step-00000004 is intact: choose it"):
        train(recipe, data=toy_data, out=run, resume=True)
    with open_run(recipe, toy_data, run, resume=True, checkpoint="step-00000004") as begun:
        assert begun.job.progress.step == 4
        train_run(begun.job, begun.path, (), begun.notes)
    assert equal(run, tmp_path / "whole")
    nowhere = open_run(recipe, toy_data, run, resume=True, checkpoint="step-9")
    with pytest.raises(ModelError, match="has no checkpoint 'step-9'; it has step-00000002, step-00000004"), nowhere:
        pass


def test_a_checkpoint_is_a_run_of_its_own(toy_run: Path) -> None:
    """It holds recipe and tokenizers: moved elsewhere, it translates."""
    for which in ("step-00000080", "step-00000120"):
        alone = Translator.load(toy_run / "checkpoints" / which)
        assert (alone.step, alone.translate(["我吃了一个苹果。"])) == (
            int(which.removeprefix("step-")),
            Translator.load(toy_run, checkpoint=which).translate(["我吃了一个苹果。"]),
        )


def test_a_run_belongs_to_one_process(toy_data: Path, tmp_path: Path) -> None:
    recipe, run = write_recipe(tmp_path / "toy.toml", SMALL), tmp_path / "run"
    train(recipe, data=toy_data, out=run)
    code = "import sys; from pathlib import Path; from clearhead.runs.lock import locked\n"
    code += "with locked(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UsageError, match=f"is in use by process {other.pid}"):
            train(recipe, data=toy_data, out=run, resume=True)
        other.kill()
    found = train(recipe, data=toy_data, out=run, resume=True)
    assert [f"left by process {other.pid}" in note for note in found.notes] == [True]
    assert not (run / "lock").exists()
