"""The loop: a resumed run is the uninterrupted one bit for bit; rhythm, limits, early stop, the best checkpoint."""

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clearhead.checkpoint import model_tensors
from clearhead.data.translation import Batch, collate
from clearhead.errors import ModelError
from clearhead.manifest import checkpoints_of
from clearhead.optim.build import OptimConfig, build_ema, build_optimizers
from clearhead.runs.pointers import find_checkpoint
from clearhead.training import saving
from clearhead.training.config import TrainConfig, ValidationConfig
from clearhead.training.events import Evaluated, Event, Finished, Saved, Sized, Skipped, Stepped
from clearhead.training.failure import load_failure
from clearhead.training.loop import Work, step_seed, train_loop
from clearhead.training.state import TrainState
from tests.limits import HANGS
from tests.small import random_rows, small

PER_EPOCH = 5
OPTIM = OptimConfig(schedule="cosine", ema_decay=0.9, weight_decay=0.01)
TRAIN = TrainConfig(max_steps=9, lr=0.01, warmup_steps=3, evaluate_every=0, checkpoint_every=0, seed=3)
ROWS = random_rows([2, 5, 3, 7, 4, 1, 6, 2, 8, 3], seed=8)


def new_state(init: int = 0, optim: OptimConfig = OPTIM) -> TrainState:
    model = small(seed=init, dropout=0.3)
    ema = build_ema(model, optim.ema_decay) if optim.ema_decay else None
    return TrainState(model, build_optimizers(model, optim, TRAIN.lr), ema)


class Toy:
    """Ten pairs in five batches, in an order of each epoch's own; remembers what was trained on."""

    def __init__(self, state: TrainState, losses: list[float] | None = None) -> None:
        self.state, self.losses = state, losses or []
        self.seen: list[tuple[int, ...]] = []

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        order = np.random.default_rng([TRAIN.seed, epoch]).permutation(len(ROWS)).reshape(PER_EPOCH, 2)
        for pair in order[start:]:
            self.seen.append(tuple(pair.tolist()))
            yield collate([ROWS[i] for i in pair], [ROWS[-1 - i] for i in pair])

    def loss_of(self, batch: Batch) -> tuple[torch.Tensor, int]:
        logits = self.state.model(batch.src_ids, batch.tgt_ids, src_mask=batch.src_mask)
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), ignore_index=0, reduction="sum"
        )
        return loss, batch.target_count

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        assert not model.training
        assert model is self.state.evaluated_model
        return {"loss": self.losses.pop(0) if self.losses else 1.0}


def run(toy: Toy, folder: Path, train: TrainConfig = TRAIN, **options: Any) -> list[Event]:
    """Runs to the end; ``stop_at`` interrupts after that step."""
    stop_at = options.pop("stop_at", None)
    validation = ValidationConfig(**options)
    work = Work(toy.batches, toy.loss_of, toy.evaluate)
    return list(
        train_loop(
            toy.state,
            work,
            folder,
            train,
            optim=OPTIM,
            validation=validation,
            should_stop=lambda: toy.state.step == stop_at,
        )
    )


def everything(state: TrainState) -> dict[str, torch.Tensor]:
    assert state.ema is not None
    return {
        **model_tensors(state.model),
        **state.optimizers.state_tensors(),
        **{f"ema/{name}": tensor for name, tensor in model_tensors(state.ema.module).items()},
        "ema/updates": state.ema.n_averaged,
        "position": torch.tensor([state.step, state.epoch, state.position]),
    }


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize(("grad_accum", "stop_at"), [(1, 3), (1, 5), (3, 1), (3, 2)])
def test_a_resumed_run_is_the_uninterrupted_one(grad_accum: int, stop_at: int, tmp_path: Path) -> None:
    train = dataclasses.replace(TRAIN, grad_accum_steps=grad_accum)
    whole = Toy(new_state())
    losses = [event.loss for event in run(whole, tmp_path / "whole", train) if isinstance(event, Stepped)]

    first = Toy(new_state())
    before = run(first, tmp_path / "run", train, stop_at=stop_at)
    assert before[-1] == Finished(stop_at, "interrupted")
    torch.manual_seed(1234)  # whatever else drew random numbers meanwhile
    second = Toy(new_state(init=99))
    latest = find_checkpoint(tmp_path / "run", "latest")
    assert latest is not None
    second.state.restore(latest)
    after = run(second, tmp_path / "run", train)

    assert [event.loss for event in before + after if isinstance(event, Stepped)] == losses
    assert first.seen + second.seen == whole.seen
    expected = everything(whole.state)
    found = everything(second.state)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_the_seed_decides_on_dropout_and_each_step_draws_anew(tmp_path: Path) -> None:
    def losses(seed: int) -> list[float]:
        toy = Toy(new_state())
        events = run(toy, tmp_path / str(seed), dataclasses.replace(TRAIN, seed=seed))
        return [event.loss for event in events if isinstance(event, Stepped)]

    assert losses(3) == losses(3)
    assert losses(3)[0] != losses(4)[0]
    assert len({step_seed(seed, step) for seed in range(20) for step in range(50)}) == 1000


def test_evaluating_and_saving_leave_the_training_alone(tmp_path: Path) -> None:
    plain, busy = Toy(new_state()), Toy(new_state())
    run(plain, tmp_path / "plain")
    run(busy, tmp_path / "busy", dataclasses.replace(TRAIN, evaluate_every=2, checkpoint_every=3))
    expected, found = everything(plain.state), everything(busy.state)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_rhythm_and_contents_of_the_events(tmp_path: Path) -> None:
    train = dataclasses.replace(TRAIN, evaluate_every=4, checkpoint_every=3, keep_last=9)
    events = run(Toy(new_state()), tmp_path, train)
    assert [event.step for event in events if isinstance(event, Stepped)] == list(range(1, 10))
    assert [event.step for event in events if isinstance(event, Evaluated)] == [4, 8, 9]
    assert [event.step for event in events if isinstance(event, Saved)] == [3, 4, 6, 8, 9]
    assert [path.name for path in checkpoints_of(tmp_path)] == [f"step-{step:08d}" for step in (3, 4, 6, 8, 9)]
    assert events[-1] == Finished(9, "max_steps")
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [event.epoch for event in steps] == [0] * 5 + [1] * 4
    assert [event.lr for event in steps[:3]] == pytest.approx([TRAIN.lr / 3, TRAIN.lr * 2 / 3, TRAIN.lr])
    assert steps[-1].lr < steps[3].lr
    tokens = sum(len(row) + 1 for row in ROWS)
    assert sum(event.tokens for event in steps[:5]) == tokens
    assert all(event.seconds > 0 and event.grad_norm > 0 for event in steps)


def test_accumulation_takes_the_rest_of_an_epoch_as_a_smaller_step(tmp_path: Path) -> None:
    toy = Toy(new_state())
    events = run(toy, tmp_path, dataclasses.replace(TRAIN, grad_accum_steps=3, max_steps=4))
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [event.epoch for event in steps] == [0, 0, 1, 1]
    assert steps[0].tokens + steps[1].tokens == sum(len(row) + 1 for row in ROWS)
    assert len(toy.seen) == 2 * PER_EPOCH


def test_patience_ends_the_run_and_the_best_checkpoint_is_kept(tmp_path: Path) -> None:
    toy = Toy(new_state(), losses=[3.0, 4.0, 1.0, 2.0, 1.0, 5.0, 0.1])
    train = dataclasses.replace(TRAIN, max_steps=50, evaluate_every=2, keep_last=1)
    events = run(toy, tmp_path, train, patience=3)
    judged = {event.step: event.best for event in events if isinstance(event, Evaluated)}
    assert judged == {2: True, 4: False, 6: True, 8: False, 10: False, 12: False}
    assert events[-1] == Finished(12, "early_stop")
    assert [path.name for path in checkpoints_of(tmp_path)] == ["step-00000006", "step-00000012"]
    best, latest = find_checkpoint(tmp_path, "best"), find_checkpoint(tmp_path, "latest")
    assert best is not None
    assert latest is not None
    assert (best.name, latest.name) == ("step-00000006", "step-00000012")


def test_patience_is_counted_across_a_resume_and_bleu_counts_upward(tmp_path: Path) -> None:
    class Bleu(Toy):
        def evaluate(self, model: nn.Module) -> Mapping[str, float]:
            return {"loss": 1.0, "bleu": self.losses.pop(0)}

    train = dataclasses.replace(TRAIN, max_steps=50, evaluate_every=2)
    first = Bleu(new_state(), losses=[10.0, 30.0, 20.0])
    run(first, tmp_path, train, monitor="bleu", patience=3, stop_at=7)
    second = Bleu(new_state(), losses=[29.0, 30.0, 99.0])
    latest = find_checkpoint(tmp_path, "latest")
    assert latest is not None
    second.state.restore(latest)
    events = run(second, tmp_path, train, monitor="bleu", patience=3)
    assert events[-1] == Finished(10, "early_stop")
    assert second.state.best_step == 4


@pytest.mark.long
@pytest.mark.parametrize("stop_at", [4, 9])
def test_an_evaluation_that_an_interruption_left_out_is_made_up_for(stop_at: int, tmp_path: Path) -> None:
    """Best score, patience and scores are those of the run that was not stopped, at a due step and at the last."""
    train, losses = dataclasses.replace(TRAIN, evaluate_every=2), [5.0, 3.0, 4.0, 2.0, 6.0]
    whole, first = Toy(new_state(), losses=[*losses]), Toy(new_state(), losses=[*losses])
    events = run(whole, tmp_path / "whole", train)
    before = run(first, tmp_path / "run", train, stop_at=stop_at)
    assert before[-1] == Finished(stop_at, "interrupted")
    second = Toy(new_state(init=99), losses=first.losses)
    latest = find_checkpoint(tmp_path / "run", "latest")
    assert latest is not None
    second.state.restore(latest)
    after = run(second, tmp_path / "run", train)

    def scores(events: list[Event]) -> list[tuple[int, float, bool]]:
        return [(one.step, one.scores["loss"], one.best) for one in events if isinstance(one, Evaluated)]

    assert scores(before) + scores(after) == scores(events)
    assert (second.state.best_step, second.state.best_score) == (whole.state.best_step, whole.state.best_score)
    assert [path.name for path in checkpoints_of(tmp_path / "run")] == [
        path.name for path in checkpoints_of(tmp_path / "whole")
    ]


class Slow(Toy):
    """Evaluates on its batches, one by one; a signal comes in the second of those at step ``stop_at``."""

    def __init__(self, state: TrainState, stop_at: int = 0) -> None:
        super().__init__(state)
        self.stop_at, self.judged, self.stopped = stop_at, list[int](), False

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        assert not model.training
        total = 0.0
        for number in range(3):
            self.stopped = self.stopped or (self.state.step == self.stop_at and number == 1)
            batch = collate([ROWS[number]], [ROWS[-1 - number]])
            total += float(model(batch.src_ids, batch.tgt_ids, src_mask=batch.src_mask).square().mean())
            self.judged.append(self.state.step)
        return {"loss": total}

    def train(self, folder: Path) -> list[Event]:
        train = dataclasses.replace(TRAIN, evaluate_every=3)
        work = Work(self.batches, self.loss_of, self.evaluate)
        options: dict[str, Any] = {"optim": OPTIM, "validation": ValidationConfig()}
        return list(train_loop(self.state, work, folder, train, should_stop=lambda: self.stopped, **options))


@pytest.mark.long
@pytest.mark.parametrize("stop_at", [3, 9])
def test_a_signal_during_an_evaluation_gives_it_up_until_training_goes_on(stop_at: int, tmp_path: Path) -> None:
    """At a due step and at the last; one more signal in the evaluation that is made up for leaves all as it is."""
    whole, first = Slow(new_state()), Slow(new_state(), stop_at)
    events, before = whole.train(tmp_path / "whole"), first.train(tmp_path / "run")
    assert before[-1] == Finished(stop_at, "interrupted")
    assert first.judged.count(stop_at) == 1, "the first batch was, the second was not"
    assert not any(part._forward_pre_hooks for part in first.state.evaluated_model.modules())

    def gone_on(state: TrainState, stop_at: int = 0) -> Slow:
        latest = find_checkpoint(tmp_path / "run", "latest")
        assert latest is not None
        state.restore(latest)
        return Slow(state, stop_at)

    second = gone_on(new_state(init=99), stop_at)
    assert [type(one) for one in second.train(tmp_path / "run")] == [Saved, Finished]
    third = gone_on(new_state(init=98))
    after = third.train(tmp_path / "run")

    def scores(events: list[Event]) -> list[tuple[int, float, bool]]:
        return [(one.step, one.scores["loss"], one.best) for one in events if isinstance(one, Evaluated)]

    assert scores(before) + scores(after) == scores(events)
    assert (third.state.best_step, third.state.best_score) == (whole.state.best_step, whole.state.best_score)
    expected, found = everything(whole.state), everything(third.state)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_a_second_signal_does_not_wait_for_the_disk_and_an_error_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before stays the latest until the new one is whole."""
    gate, real, asked = threading.Event(), saving.save_checkpoint, list[int]()

    def slow(path: Path, given: Any) -> None:
        asked.append(int(path.name[-1]))
        if path.name.endswith("6"):
            gate.wait(HANGS)
        real(path, given)

    monkeypatch.setattr(saving, "save_checkpoint", slow)
    train = dataclasses.replace(TRAIN, checkpoint_every=3)
    for raised in (KeyboardInterrupt, RuntimeError):
        toy, folder = Toy(new_state()), tmp_path / raised.__name__
        work = Work(toy.batches, toy.loss_of, toy.evaluate)
        events = train_loop(toy.state, work, folder, train, optim=OPTIM, validation=ValidationConfig())
        while toy.state.step < 7:
            next(events)
        latest = find_checkpoint(folder, "latest")
        assert latest is not None
        assert latest.name == "step-00000003"
        if raised is RuntimeError:
            gate.set()
        with pytest.raises(raised):
            events.throw(raised())  # type: ignore[attr-defined]
        latest = find_checkpoint(folder, "latest")
        assert latest is not None
        assert latest.name == ("step-00000003" if raised is KeyboardInterrupt else "step-00000006")
    assert asked == [3, 6, 3, 6]


def test_time_is_up(tmp_path: Path) -> None:
    toy = Toy(new_state())
    toy.state.seconds = 59.99999
    events = run(toy, tmp_path, dataclasses.replace(TRAIN, max_minutes=1.0))
    assert [type(event) for event in events] == [Sized, Stepped, Evaluated, Saved, Finished]
    assert events[-1] == Finished(1, "max_minutes")
    assert toy.state.seconds > 60


def test_a_finished_run_takes_no_further_step(tmp_path: Path) -> None:
    toy = Toy(new_state())
    toy.state.step = toy.state.evaluated_step = TRAIN.max_steps
    assert run(toy, tmp_path) == [Finished(TRAIN.max_steps, "max_steps")]
    assert toy.seen == []


class Poisoned(Toy):
    """Some batches, counted from the start of the process, have a loss that is not finite."""

    def __init__(self, state: TrainState, bad: range) -> None:
        super().__init__(state)
        self.bad, self.count = bad, 0

    def loss_of(self, batch: Batch) -> tuple[torch.Tensor, int]:
        loss, count = super().loss_of(batch)
        self.count += 1
        return (loss * float("nan") if self.count - 1 in self.bad else loss), count


def test_a_step_that_is_not_finite_is_skipped_and_the_rest_is_the_run_without_its_batch(tmp_path: Path) -> None:
    events = run(Poisoned(new_state(), range(2, 4)), tmp_path, dataclasses.replace(TRAIN, max_steps=5))
    assert [type(event).__name__ for event in events[:7]] == ["Stepped"] * 2 + ["Skipped"] * 2 + ["Stepped"] * 3
    skipped = [event for event in events if isinstance(event, Skipped)]
    assert [(event.step, event.in_row) for event in skipped] == [(3, 1), (3, 2)]
    assert [event.step for event in events if isinstance(event, Stepped)] == [1, 2, 3, 4, 5]

    class Without(Toy):
        def batches(self, epoch: int, start: int) -> Iterator[Batch]:
            found = list(super().batches(epoch, start))
            yield from found[:2] + found[4:] if epoch == 0 else found

    plain = run(Without(new_state()), tmp_path / "plain", dataclasses.replace(TRAIN, max_steps=5))
    losses = [[event.loss for event in one if isinstance(event, Stepped)] for one in (events, plain)]
    assert losses[0] == losses[1]


def test_too_many_in_a_row_end_the_run_with_the_batch_kept(tmp_path: Path) -> None:
    toy = Poisoned(new_state(), range(2, 99))
    train = dataclasses.replace(TRAIN, max_skipped_steps=7)  # more than an epoch has
    with pytest.raises(ModelError, match=r"^step 3: loss nan .* not finite 7 times in a row; .*clearhead replay"):
        run(toy, tmp_path, train)
    assert toy.count == 2 + 7
    failure, weights = load_failure(tmp_path, Batch)
    assert (failure.step, failure.seed) == (3, step_seed(train.seed, 3))
    assert [tuple(batch.targets.shape) for batch in failure.batches]
    assert weights.keys() == model_tensors(toy.state.model).keys()


def test_the_scale_of_float16_is_part_of_a_checkpoint(tmp_path: Path) -> None:
    train = dataclasses.replace(TRAIN, precision="float16", max_steps=4)
    whole = Toy(new_state())
    losses = [event.loss for event in run(whole, tmp_path / "whole", train) if isinstance(event, Stepped)]
    first = Toy(new_state())
    before = run(first, tmp_path / "run", train, stop_at=2)
    second = Toy(new_state(init=9))
    latest = find_checkpoint(tmp_path / "run", "latest")
    assert latest is not None
    second.state.restore(latest)
    assert second.state.scaler == first.state.scaler
    assert second.state.scaler["_growth_tracker"] == 2
    after = run(second, tmp_path / "run", train)
    assert [event.loss for event in before + after if isinstance(event, Stepped)] == losses
