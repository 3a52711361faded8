"""The progress of training for a reader: a bar or lines on stderr, and lines for the logger ``clearhead``."""

import logging
import sys
import time
from typing import Any, assert_never

import click

from clearhead.drawing.screen import console, discard
from clearhead.log import LOG
from clearhead.messages import localized
from clearhead.training.events import (
    Counted,
    Diverging,
    Evaluated,
    Event,
    Finished,
    Noted,
    NotSaved,
    Saved,
    Sized,
    Skipped,
    Stepped,
)


def line_of(event: Event) -> str:
    """Returns what an event tells, in one line; nothing for a step, of which there are many, and for a checkpoint."""
    match event:
        case Skipped():
            return (
                f"step {event.step} skipped: loss {event.loss}, gradient norm {event.grad_norm}, not finite "
                f"({event.in_row} in a row){event.where and ': ' + event.where}"
            )
        case Diverging():
            return (
                f"step {event.step}: the loss is {event.loss:.3f}, after {event.lowest:.3f} at step "
                f"{event.lowest_step}: it diverges; train.lr is too high (now {event.lr:g}) or train.warmup_steps "
                "too few"
            )
        case Counted():
            return f"{event.tokens:,} tokens counted, {event.tokens / event.seconds:,.0f} tokens/s"
        case Evaluated():
            scores = ", ".join(f"{name} {value:.4f}" for name, value in event.scores.items())
            return "; ".join([f"step {event.step}: valid {scores}", *["best"] * event.best])
        case Finished():
            return f"step {event.step}: finished, {event.reason.replace('_', ' ')}"
        case NotSaved():
            return f"step {event.step}: {event.problem}; training goes on"
        case Noted():
            return event.line
        case Sized():
            return sized_line(event)
        case Stepped() | Saved():
            return ""
    assert_never(event)


def sized_line(event: Sized) -> str:
    """Says how long a run with a budget is."""
    if not event.last:
        return f"{_clock(event.seconds_left)} for the run: the first steps and an evaluation are measured"
    return (
        f"{_clock(event.seconds_left)} left: {event.last:,} steps in all, {event.warmup_steps:,} of warm-up; a step "
        f"takes {event.step_seconds:.3g} s, an evaluation {event.evaluation_seconds:.3g} s"
    )


class StepLines:
    """Sums up the steps since the last line: loss, learning rate, speed and time left.

    Args:
        max_steps: the last step of the run, until ``size`` says otherwise.
        targets: what the model learns to predict, in the plural.
        every_seconds: how much time is between two lines, at the least.
    """

    def __init__(self, max_steps: int, targets: str, every_seconds: float) -> None:
        self.max_steps, self._targets, self._every = max_steps, targets, every_seconds
        self._end: float | None = None  # of the budget, by time.monotonic
        self._shown = 0.0
        self._tokens, self._seconds, self._steps, self._loss = 0, 0.0, 0, 0.0

    def size(self, event: Sized) -> None:
        """Takes a decision on the length of the run."""
        self.max_steps = event.last
        self._end = time.monotonic() + event.seconds_left

    @property
    def last(self) -> str:
        """The last step, where it is known."""
        return str(self.max_steps or "?")

    def take(self, event: Stepped) -> tuple[str, str] | None:
        """Takes a step; returns the numbers and the time left where a line is due."""
        self._tokens, self._seconds = self._tokens + event.tokens, self._seconds + event.seconds
        self._steps, self._loss = self._steps + 1, self._loss + event.loss
        now = time.monotonic()
        if now - self._shown < self._every and event.step != self.max_steps:
            return None
        self._shown = now
        if self._end is None:
            left = (self.max_steps - event.step) * self._seconds / self._steps
        else:
            left = max(self._end - now, 0.0)
        numbers = (
            f"loss {self._loss / self._steps:.3f}  lr {event.lr:.2e}  "
            f"{self._tokens / self._seconds:,.0f} {self._targets}/s"
        )
        self._tokens, self._seconds, self._steps, self._loss = 0, 0.0, 0, 0.0
        return numbers, _clock(left)


class LogWriter:
    """Gives the events to the logger ``clearhead``: what goes wrong as warnings, all else as information."""

    def __init__(self, max_steps: int, targets: str = "tokens", *, every_seconds: float = 10.0) -> None:
        self._steps = StepLines(max_steps, targets, every_seconds)

    def write(self, event: Event) -> None:
        """Logs one event."""
        if isinstance(event, Sized):
            self._steps.size(event)
        if isinstance(event, Stepped):
            if told := self._steps.take(event):
                numbers, left = told
                LOG.info(f"step {event.step}/{self._steps.last}  {numbers}  {left} left")
        elif line := line_of(event):
            LOG.log(logging.WARNING if isinstance(event, Skipped | Diverging | NotSaved) else logging.INFO, "%s", line)

    def close(self) -> None:
        """Does nothing: the logger's handlers are the program's."""


class ProgressWriter:
    """Shows the events on stderr: on a terminal a bar, elsewhere plain lines.

    Training goes on where stderr can no longer be written to, as after its terminal was closed.
    """

    def __init__(self, max_steps: int, targets: str = "tokens", *, every_seconds: float = 10.0) -> None:
        self._bar: Any = _bar() if sys.stderr.isatty() else None
        self._task: Any = None
        self._steps = StepLines(max_steps, targets, 0.2 if self._bar is not None else every_seconds)

    def write(self, event: Event) -> None:
        """Shows one event."""
        try:
            self._show(event)
        except OSError:
            discard(sys.stderr)

    def _show(self, event: Event) -> None:
        if isinstance(event, Sized):
            self._steps.size(event)
        if isinstance(event, Stepped):
            if told := self._steps.take(event):
                self._show_step(event.step, *told)
        elif line := line_of(event):
            self._say(line)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            try:
                self._bar.stop()
            except OSError:
                discard(sys.stderr)

    def _show_step(self, step: int, numbers: str, left: str) -> None:
        if self._bar is None:
            self._say(f"step {step}/{self._steps.last}  {numbers}  {left} left")
            return
        if self._task is None:
            self._task = self._bar.add_task("training", total=None, left="")
            self._bar.start()
        words = {"description": localized(numbers), "left": localized(f"{left} left")}
        self._bar.update(self._task, completed=step, total=self._steps.max_steps or None, **words)

    def _say(self, line: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.console.print(localized(line), highlight=False)
        else:
            click.echo(localized(line), err=True)


class LineProgress:
    """Shows how many of the lines of a file are answered, how many in a second, and the time left."""

    def __init__(self, total: int, *, done: int = 0, every_seconds: float = 10.0) -> None:
        self._total, self._every, self._done, self._before = total, every_seconds, done, done
        self._begun = self._shown = time.monotonic()
        self._bar: Any = _bar() if sys.stderr.isatty() else None
        self._task: Any = None

    def advance(self, count: int) -> None:
        """Counts ``count`` lines more as answered."""
        self._done += count
        now = time.monotonic()
        if now - self._shown < (0.2 if self._bar is not None else self._every) and self._done < self._total:
            return
        self._shown, rate = now, (self._done - self._before) / max(now - self._begun, 1e-9)
        left = _clock(max(self._total - self._done, 0) / rate)
        if self._bar is None:
            said = f"{self._done:,}/{self._total:,} lines  {rate:,.1f} lines/s  {left} left"
            click.echo(localized(said), err=True)
            return
        if self._task is None:
            self._task = self._bar.add_task("", total=self._total, left="")
            self._bar.start()
        words = {"description": localized(f"{rate:,.1f} lines/s"), "left": localized(f"{left} left")}
        self._bar.update(self._task, completed=self._done, **words)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[left]}"),
        console=console(stderr=True, markup=False),
        transient=True,
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
