"""Time as a budget: the end within 5 percent on a machine whose speed varies, a schedule that resumes to the bit."""

import dataclasses
import itertools
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from clearhead.data.translation import Batch
from clearhead.optim.build import OptimConfig
from clearhead.optim.schedule import ScheduleName, lr_factor
from clearhead.runs.pointers import find_checkpoint
from clearhead.training import loop, saving
from clearhead.training.config import TrainConfig
from clearhead.training.events import Finished, Sized, Stepped
from clearhead.training.length import budget
from clearhead.training.length.budget import Costs, Decision, Pacer, Sizing, last_step, scheduled, seconds_to, sized
from clearhead.training.state import TrainState
from tests.unit.training.test_loop import TRAIN as LOOPED
from tests.unit.training.test_loop import Toy, everything, new_state, run

TRAIN = TrainConfig(max_steps=0, max_minutes=10.0, warmup_steps=400, evaluate_every=500)
COSINE = OptimConfig(schedule="cosine")


@dataclasses.dataclass
class State:
    seconds: float = 0.0
    sizing: Sizing | None = None


class Machine:
    """Trains nothing, and takes the time that a step, an evaluation and a checkpoint would take."""

    def __init__(self, train: TrainConfig, speed: Callable[[float], float], *, evaluation: float = 4.0) -> None:
        self.train, self.speed, self.evaluation = train, speed, evaluation
        self.now, self.state, self.step, self.told = 100.0, State(), 0, list[Sized]()

    def run(self, monkeypatch: pytest.MonkeyPatch) -> float:
        """Runs as the loop does; returns the seconds until the last checkpoint is written."""
        monkeypatch.setattr(budget.time, "perf_counter", lambda: self.now)
        began, pacer = self.now, Pacer(self.train, self.state)
        self.told += pacer.begin(self.step)
        reason = None
        while reason is None:
            self.now += 0.1 * self.speed(self.now - began) * (30 if self.step == 0 else 1)
            self.step += 1
            pacer.stepped()
            self.told += pacer.decide(self.step, 2.0)
            reason = pacer.reached(self.step)
            if reason or self.step % self.train.evaluate_every == 0 or pacer.wants_evaluation:
                self.now += self.evaluation * self.speed(self.now - began)
                pacer.evaluated()
                self.told += () if reason else pacer.decide(self.step, 2.0)
                reason = reason or pacer.reached(self.step)
        self.now += 2.0  # the last checkpoint
        pacer.tick()
        assert reason == "max_minutes"
        return self.now - began


def alternating(seconds: float) -> float:
    return 1.3 if int(seconds / 45) % 2 else 1.0


def drawn() -> Callable[[float], float]:
    draw = random.Random(7)
    return lambda seconds: draw.uniform(1.0, 1.3)


@pytest.mark.parametrize("minutes", [1.5, 10.0, 60.0])
@pytest.mark.parametrize(
    "speed",
    [
        lambda seconds: 1.0,
        lambda seconds: 1.3 if seconds > 60 else 1.0,
        lambda seconds: 1.0 if seconds > 60 else 1.3,
        lambda seconds: 1.0 + 0.3 * min(seconds / 90, 1.0),
        alternating,
        drawn(),
        lambda seconds: 60.0 if 40 < seconds < 45 else 1.0,
    ],
    ids=["steady", "slower", "faster", "slowing", "alternating", "noisy", "stalled"],
)
def test_a_run_ends_within_5_percent_of_its_budget_and_at_the_end_of_its_schedule(
    minutes: float, speed: Callable[[float], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(dataclasses.replace(TRAIN, max_minutes=minutes), speed)
    taken = machine.run(monkeypatch)
    assert taken == pytest.approx(60 * minutes, rel=0.05)
    assert machine.state.seconds == pytest.approx(taken)
    sizing = machine.state.sizing
    assert sizing is not None
    assert sizing.last == machine.step
    assert sizing.position(machine.step) == pytest.approx(sizing.length)
    assert scheduled(machine.step, machine.train, COSINE, sizing) == pytest.approx(0.0, abs=1e-9)
    assert len(sizing.decisions) < 30
    assert sizing.warmup_steps == min(400, -(-sizing.length // 10))


@pytest.mark.parametrize("schedule", ["constant", "linear", "inverse_sqrt", "cosine", "wsd", "one_cycle"])
def test_the_learning_rate_does_not_jump_where_the_length_is_decided_anew(schedule: ScheduleName) -> None:
    train, optim = dataclasses.replace(TRAIN, warmup_steps=40), OptimConfig(schedule=schedule)
    sizing = sized(10, 300.0, train, Costs(1.0)).moved(100, 250).moved(120, 400).moved(300, 350)
    rates = [scheduled(step, train, optim, sizing) for step in range(11, 351)]
    assert max(abs(after - before) for before, after in itertools.pairwise(rates)) < 0.06
    last = lr_factor(schedule, sizing.length, warmup_steps=sizing.warmup_steps, max_steps=sizing.length)
    assert rates[-1] == pytest.approx(last)


def test_a_sized_schedule_is_that_of_a_run_of_this_length() -> None:
    train = dataclasses.replace(TRAIN, max_steps=5000, warmup_steps=1000)
    sizing = sized(10, 300.0, train, Costs(step=1.0))
    assert (sizing.last, sizing.length, sizing.warmup_steps) == (310, 310, 62), "a fifth of it, as in the recipe"
    fixed = dataclasses.replace(train, max_steps=310, max_minutes=0.0, warmup_steps=62)
    for step in range(11, 311):
        assert scheduled(step, train, COSINE, sizing) == pytest.approx(scheduled(step, fixed, COSINE))
    assert scheduled(10, train, COSINE, sizing) == 10 / 1000, "as the recipe says, before the decision"


def test_the_last_step_is_the_largest_that_fits() -> None:
    costs = Costs(step=1.0, evaluation=10.0, ending=5.0)
    train = dataclasses.replace(TRAIN, evaluate_every=50)
    for left in range(0, 300, 7):
        last = last_step(20, float(left), train, costs)
        assert last == 20 or seconds_to(last, 20, train, costs) <= left
        assert seconds_to(last + 1, 20, train, costs) > left
    assert seconds_to(101, 20, train, costs) == 81 + 3 * 10 + 5, "at 50, at 100 and at the last"
    assert seconds_to(100, 20, train, costs) == 80 + 2 * 10 + 5
    assert last_step(20, -3.0, train, costs) == 20
    assert last_step(20, 1e6, dataclasses.replace(train, max_steps=70), costs) == 70


def test_what_comes_first_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(dataclasses.replace(TRAIN, max_steps=900, warmup_steps=90), lambda seconds: 1.0)
    with pytest.raises(AssertionError, match="max_steps"):
        machine.run(monkeypatch)
    assert machine.step == 900
    assert [(one.last, one.warmup_steps) for one in machine.told] == [(0, 90), (900, 90)]
    assert machine.told[-1].seconds_left == pytest.approx(90, rel=0.1), (
        "until the steps are taken, not the budget's end"
    )


def test_what_was_decided_goes_through_json_to_the_bit() -> None:
    sizing = sized(7, 100.0, TRAIN, Costs(0.3, 1.1, 0.7, (0.2, 0.3, 0.4), (1.1,))).moved(30, 400).moved(77, 291)
    again = Sizing.from_dict(json.loads(json.dumps(sizing.as_dict())))
    assert again == sizing
    assert [again.position(step) for step in range(1, 300)] == [sizing.position(step) for step in range(1, 300)]
    assert again.decisions[0] == Decision(7, 7.0, again.length)


def test_a_changed_budget_is_decided_on_anew_at_once() -> None:
    before = dataclasses.replace(TRAIN, max_minutes=1.0)
    state = State(50.0, sized(100, 10.0, before, Costs(0.1)))
    assert [one.last for one in Pacer(before, state).begin(150)] == [200]
    (more,) = Pacer(dataclasses.replace(TRAIN, max_minutes=2.0), state).begin(150)
    assert more.last == 850
    assert more.seconds_left == pytest.approx(70)
    state.seconds = 200.0
    less = Pacer(dataclasses.replace(TRAIN, max_minutes=3.0), state)
    assert [one.last for one in less.begin(150)] == [150]
    assert less.reached(150) == "max_minutes"


def test_without_a_budget_nothing_is_decided() -> None:
    train, state = TrainConfig(max_steps=30), State(5.0, sized(1, 10.0, TRAIN, Costs(0.1)))
    pacer = Pacer(train, state)
    assert (list(pacer.begin(10)), pacer.last) == ([], 30)
    pacer.stepped()
    pacer.stepped()
    pacer.evaluated()
    assert (list(pacer.decide(20, 1.0)), pacer.wants_evaluation, state.sizing) == ([], False, None)
    assert (pacer.reached(29), pacer.reached(30)) == (None, "max_steps")


class Clocked(Toy):
    """A step takes 2 seconds of a clock of its own, 3 from the given step on, and an evaluation 4."""

    def __init__(self, state: TrainState, monkeypatch: pytest.MonkeyPatch, slow_from: int = 10**6) -> None:
        super().__init__(state)
        self.now, self.slow_from = 0.0, slow_from
        for module in (budget, loop):
            monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(saving, "time", SimpleNamespace(perf_counter=lambda: 0.0))  # a checkpoint takes none

    def loss_of(self, batch: Batch) -> tuple[torch.Tensor, int]:
        self.now += 2.0 if self.state.step < self.slow_from else 3.0
        return super().loss_of(batch)

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        self.now += 4.0
        return super().evaluate(model)


TWO_MINUTES = dataclasses.replace(LOOPED, max_steps=0, max_minutes=2.0, warmup_steps=20, checkpoint_every=10)


def test_a_run_with_a_budget_ends_its_schedule_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Clocked(new_state(), monkeypatch, slow_from=30)
    events = run(toy, tmp_path, TWO_MINUTES)
    decided = [(one.step, one.last, one.warmup_steps) for one in events if isinstance(one, Sized)]
    assert decided[:2] == [(0, 0, 20), (4, 56, 6)], "104 of 120 seconds after 4 steps and an evaluation"
    assert decided[2][0] in range(31, 34), "slower from step 31 on"
    assert decided[-1][1] == toy.state.step == toy.state.max_steps
    assert events[-1] == Finished(toy.state.step, "max_minutes")
    assert toy.now == pytest.approx(120, rel=0.05)
    assert toy.state.seconds == pytest.approx(toy.now, abs=0.01)
    rates = [one.lr for one in events if isinstance(one, Stepped)]
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert max(rates) == pytest.approx(LOOPED.lr, rel=0.02)


@pytest.mark.parametrize("stop_at", [3, 6, 15, 40])
def test_a_budget_that_is_resumed_goes_on_with_what_was_decided(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that is the same for both, all that follows is the same to the bit; also before the decision."""
    whole = Clocked(new_state(), monkeypatch)
    events = run(whole, tmp_path / "whole", TWO_MINUTES)
    first = Clocked(new_state(), monkeypatch)
    before = run(first, tmp_path / "run", TWO_MINUTES, stop_at=stop_at)
    latest = find_checkpoint(tmp_path / "run", "latest")
    assert latest is not None
    second = Clocked(new_state(init=99), monkeypatch)
    second.state.restore(latest)
    assert second.state.sizing == first.state.sizing
    after = run(second, tmp_path / "run", TWO_MINUTES)
    told = [one for one in after if isinstance(one, Sized)]
    assert told[0].last == (0 if stop_at < 4 else 56)
    if stop_at >= 4:
        rates = [one.lr for one in before + after if isinstance(one, Stepped)]
        assert rates == [one.lr for one in events if isinstance(one, Stepped)]
        expected, found = everything(whole.state), everything(second.state)
        assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    assert second.state.seconds == pytest.approx(120, rel=0.05)
