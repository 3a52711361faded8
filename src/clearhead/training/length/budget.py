"""Time as a budget: how many steps ``train.max_minutes`` has room for, decided in the run and kept in its state.

A run with a budget measures its first steps and one evaluation, and decides on its last step. From then on the learning
rate follows the schedule of a run of that length. Where the machine turns out to be faster or slower, the last step is
decided anew, and the rest of the schedule is stretched or shortened: how far the schedule is depends on the step and on
these decisions alone, never on the clock, so that a resumed run goes on with the same numbers.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, Protocol, runtime_checkable

from clearhead.optim.build import OptimConfig
from clearhead.optim.schedule import lr_factor
from clearhead.training.config import TrainConfig
from clearhead.training.distributed import ranks
from clearhead.training.events import Limit, Sized

UNBOUNDED = 10**12
"""Steps of the schedule while the length of a run is not known yet."""
WINDOW = 0.02
"""Share of the budget between two looks at the speed, and before the first decision."""
LONGEST_FIRST_WINDOW = 30.0
TOLERANCE, TOLERANCE_LEFT = 0.01, 0.05
"""Shares of the budget, and of what is left of it, that the forecast may be off: past the larger one the last step is
decided anew."""
LATE = 0.1
"""Share of the budget after which the first decision is made, however few steps were measured."""
WARMUP_SHARE = 0.1
"""Most of a sized run that is warm-up, unless the recipe has a larger share of its own."""
STEP_LOOKS, EVALUATION_LOOKS = 9, 3
"""How many of the last looks count. Their median does, so that where the machine stands still for a while that time is
lost, and the steps to come are not taken for slow ones."""


@dataclass(frozen=True)
class Costs:
    """What the parts of a run take, in seconds."""

    step: float = 0.0
    """An optimizer step, with what happens around it."""
    evaluation: float = 0.0
    """An evaluation, with its samples and the copy for the checkpoint."""
    ending: float = 0.0
    """The last checkpoint, which training waits for."""
    step_looks: tuple[float, ...] = ()
    """Seconds of a step, a number for each of the last looks, of which ``step`` is the median."""
    evaluation_looks: tuple[float, ...] = ()
    """The same of an evaluation."""

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "Costs":
        """Returns them from JSON values."""
        return cls(
            **{**tree, "step_looks": tuple(tree["step_looks"]), "evaluation_looks": tuple(tree["evaluation_looks"])}
        )


@dataclass(frozen=True)
class Decision:
    """The last step of the run, as decided after a step."""

    step: int
    """The step before the first one that this decision is for."""
    position: float
    """How far the schedule was then, of ``Sizing.length``."""
    last: int
    """The last step of the run."""


@dataclass(frozen=True)
class Sizing:
    """What has been decided about the length of a run."""

    max_minutes: float
    """The budget that it was decided for, and the steps."""
    max_steps: int
    length: int
    """Steps of the schedule, warm-up included."""
    warmup_steps: int
    """Those of them in which the learning rate rises."""
    decisions: tuple[Decision, ...]
    costs: Costs = field(default_factory=Costs)
    """As measured last."""

    @property
    def last(self) -> int:
        """The last step of the run."""
        return self.decisions[-1].last

    def position(self, step: int) -> float | None:
        """Returns how far the schedule is at a step, of ``length``; None for a step before the first decision."""
        made = next((one for one in reversed(self.decisions) if one.step < step), None)
        if made is None:
            return None
        share = min((step - made.step) / max(made.last - made.step, 1), 1.0)
        return made.position + share * (self.length - made.position)

    def moved(self, step: int, last: int) -> "Sizing":
        """Returns it with another last step, decided after ``step``; the schedule goes on from where it is."""
        position = self.position(step)
        made = Decision(step, float(step) if position is None else position, last)
        return replace(self, decisions=(*self.decisions, made))

    def as_dict(self) -> dict[str, Any]:
        """Returns it as JSON values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "Sizing":
        """Returns what ``as_dict`` gave."""
        decisions = tuple(Decision(**one) for one in tree["decisions"])
        return cls(**{**tree, "decisions": decisions, "costs": Costs.from_dict(tree["costs"])})


def scheduled(step: int, train: TrainConfig, optim: OptimConfig, sizing: Sizing | None = None) -> float:
    """Returns the factor on the peak learning rate at a step of a run; steps count from 1.

    Args:
        step: the step.
        train: its length, where the run has no budget of time.
        optim: the schedule.
        sizing: what was decided about the length of a run that has one.
    """
    position = sizing.position(step) if sizing else None
    if sizing is None or position is None:
        steps, warmup, at, cycle = train.max_steps or UNBOUNDED, train.warmup_steps, float(step), optim.cycle_steps
    else:
        steps, warmup, at = sizing.length, sizing.warmup_steps, position
        cycle = math.ceil(optim.cycle_steps * steps / train.max_steps) if train.max_steps else 0
    return lr_factor(
        optim.schedule,
        at,
        warmup_steps=warmup,
        max_steps=steps,
        min_factor=optim.min_lr_factor,
        cycle_steps=cycle,
        decay_fraction=optim.decay_fraction,
    )


def sized(step: int, seconds: float, train: TrainConfig, costs: Costs) -> Sizing:
    """Decides how long a run is.

    Args:
        step: the last step taken.
        seconds: what is left of the budget.
        train: the limits of the run, and how often it evaluates.
        costs: what its parts take.
    """
    last = last_step(step, seconds, train, costs)
    share = max(WARMUP_SHARE, train.warmup_steps / train.max_steps if train.max_steps else 0.0)
    warmup = min(train.warmup_steps, math.ceil(share * last))
    made = Decision(step, float(step), last)
    return Sizing(train.max_minutes, train.max_steps, last, warmup, (made,), costs)


def last_step(step: int, seconds: float, train: TrainConfig, costs: Costs) -> int:
    """Returns the last step of a run that has ``seconds`` left after ``step``; it is ``step`` itself without time."""
    most = step + max(int(seconds / max(costs.step, 1e-9)), 0)
    most = min(most, train.max_steps) if train.max_steps else most
    low, high = step, max(most, step)
    while low < high:
        middle = (low + high + 1) // 2
        if seconds_to(middle, step, train, costs) <= seconds:
            low = middle
        else:
            high = middle - 1
    return low


def seconds_to(last: int, step: int, train: TrainConfig, costs: Costs) -> float:
    """Returns how long a run goes on after ``step`` whose last step is ``last``."""
    if last <= step:
        return costs.ending
    every = train.evaluate_every
    between = (last - 1) // every - step // every if every else 0
    return (last - step) * costs.step + (between + 1) * costs.evaluation + costs.ending


@runtime_checkable
class Timed(Protocol):
    """What a run keeps of its time."""

    seconds: float
    """How long it has trained."""
    sizing: Sizing | None
    """What was decided about its length; None before the first decision, and without a budget."""


class Pacer:
    """Keeps the time of a run, and decides on its length where it has a budget.

    Processes that train one model go by the clock of the first one, so that they decide the same.

    Args:
        train: ``max_minutes`` is the budget; 0 for none.
        state: changed in place, and saved with the run.
    """

    def __init__(self, train: TrainConfig, state: Timed) -> None:
        self.train, self.state = train, state
        if not train.max_minutes:
            state.sizing = None
        self._mark = time.perf_counter()
        self._first, self._steps, self._window = True, 0, 0.0
        self._step_seconds = 0.0
        self._evaluation: float | None = None

    @property
    def budget(self) -> float:
        """Seconds of the whole run; 0 without a limit."""
        return 60 * self.train.max_minutes

    @property
    def left(self) -> float:
        """Seconds until the end of the budget."""
        return self.budget - self.state.seconds

    @property
    def last(self) -> int:
        """The last step of the run; 0 where it is not known yet."""
        if self.state.sizing:
            return self.state.sizing.last
        return 0 if self.budget else self.train.max_steps

    def reached(self, step: int) -> Limit | None:
        """Returns which limit ends the run after ``step``; None if none does."""
        if self.last and step >= self.last:
            return "max_steps" if self.last == self.train.max_steps else "max_minutes"
        if self.train.max_steps and step >= self.train.max_steps:
            return "max_steps"
        # before the first decision only: after it the schedule is led to its end
        return "max_minutes" if self.budget and not self.state.sizing and self.left <= 0 else None

    def begin(self, step: int) -> Iterator[Sized]:
        """Says how long a run with a budget is, after ``step``; decides anew if its budget has changed."""
        if not self.budget:
            return
        known = self.state.sizing
        if known and (known.max_minutes, known.max_steps) != (self.train.max_minutes, self.train.max_steps):
            self.state.sizing = sized(step, self.left, self.train, known.costs)
        yield self.told(step)

    def told(self, step: int) -> Sized:
        """Returns what is decided, as an event."""
        made = self.state.sizing
        if made is None:
            return Sized(step, 0, self.train.warmup_steps, self.left)
        left = min(self.left, seconds_to(made.last, step, self.train, made.costs))
        return Sized(step, made.last, made.warmup_steps, left, made.costs.step, made.costs.evaluation)

    def tick(self) -> float:
        """Adds the time since the last call to that of the run; returns it."""
        now = time.perf_counter()
        (passed,) = ranks().of_first(now - self._mark)
        self._mark = now
        self.state.seconds += passed
        return passed

    def stepped(self) -> None:
        """Counts the time since the last step or evaluation for a step.

        The first step of a process, which finds memory and compiles, tells nothing about those to come.
        """
        passed = self.tick()
        if self._first:
            self._first, self._step_seconds = False, passed
            return
        self._steps, self._window = self._steps + 1, self._window + passed

    def evaluated(self) -> None:
        """Counts the same time for an evaluation."""
        self._evaluation = self.tick()

    @property
    def wants_evaluation(self) -> bool:
        """Whether enough steps are measured for the first decision, which needs the time of an evaluation."""
        if not self.budget or self.state.sizing or self._first:
            return False
        enough = self._steps >= 3 and self.state.seconds >= min(WINDOW * self.budget, LONGEST_FIRST_WINDOW)
        return enough or self.state.seconds >= LATE * self.budget

    def decide(self, step: int, ending: float) -> Iterator[Sized]:
        """Decides on the last step, for the first time or anew, and says so; nothing where all stays as it is.

        Args:
            step: the last step taken.
            ending: seconds that the last checkpoint took to be written.
        """
        known, judged = self.state.sizing, self._evaluation is not None
        if not self.budget or self._first or (known is None and not judged):
            return
        if known is None:
            self.state.sizing = sized(step, self.left, self.train, self._look(ending, Costs()))
            yield self.told(step)
            return
        if step >= known.last or (self._window < WINDOW * self.budget and not judged):
            return
        self.state.sizing = known = replace(known, costs=self._look(ending, known.costs))
        miss = self.left - seconds_to(known.last, step, self.train, known.costs)
        last = last_step(step, self.left, self.train, known.costs)
        if abs(miss) > max(TOLERANCE * self.budget, TOLERANCE_LEFT * self.left) and last != known.last:
            self.state.sizing = known.moved(step, last)
            yield self.told(step)

    def _look(self, ending: float, known: Costs) -> Costs:
        """Returns ``known`` with what the steps and the evaluation since the last look took, and begins another look.

        Steps count as a look where they took long enough, or are all that there is.
        """
        (ending,) = ranks().of_first(ending)
        steps, evaluations = known.step_looks, known.evaluation_looks
        if self._window >= WINDOW * self.budget or not steps:
            steps = (*steps, self._window / self._steps if self._steps else self._step_seconds)[-STEP_LOOKS:]
            self._steps, self._window = 0, 0.0
        if self._evaluation is not None:
            evaluations, self._evaluation = (*evaluations, self._evaluation)[-EVALUATION_LOOKS:], None
        return Costs(median(steps), median(evaluations), max(ending, known.ending), steps, evaluations)
