"""The progress of training for a reader: a bar or lines on stderr, and lines for the logger ``clearhead``."""

import itertools
import logging
import sys
import time
from typing import Any, assert_never

import click

from clearhead.drawing.screen import console, discard
from clearhead.log import LOG
from clearhead.messages import localized
from clearhead.training.events import (
    Begun,
    Counted,
    Diverging,
    Evaluated,
    Event,
    Finished,
    Noted,
    NotSaved,
    Sampled,
    Saved,
    Sized,
    Skipped,
    Stepped,
)
from clearhead.training.samples import shown


def line_of(event: Event) -> str:
    """Returns what an event tells, in one line.

    Nothing for a step, of which there are many, for a checkpoint, and for samples, which have lines of their own.
    """
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
        case Begun() | Stepped() | Sampled() | Saved():
            return ""
    assert_never(event)


def sized_line(event: Sized) -> str:
    """Says how long a run with a budget is."""
    if not event.last:
        return f"{clock(event.seconds_left)} for the run: the first steps and an evaluation are measured"
    return (
        f"{clock(event.seconds_left)} left: {event.last:,} steps in all, {event.warmup_steps:,} of warm-up; a step "
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
        return numbers, clock(left)


class SampleLines:
    """Tells samples: at the first time also of which lines they are."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def take(self, event: Sampled, width: int | None = None) -> tuple[list[str], list[str]]:
        """Takes samples; returns the lines that they are of, where those were not told yet, and what was made of them.

        Args:
            event: the samples.
            width: columns of a line; None cuts nothing.
        """
        heads, known = shown.heads(event, width), self._told
        self._told = heads
        return [] if heads == known else heads, shown.tells(event, width)


class LogWriter:
    """Gives the events to the logger ``clearhead``: what goes wrong as warnings, all else as information."""

    def __init__(self, max_steps: int, targets: str = "tokens", *, every_seconds: float = 10.0) -> None:
        self._steps, self._samples = StepLines(max_steps, targets, every_seconds), SampleLines()

    def write(self, event: Event) -> None:
        """Logs one event."""
        if isinstance(event, Sized):
            self._steps.size(event)
        if isinstance(event, Stepped):
            if told := self._steps.take(event):
                numbers, left = told
                LOG.info(f"step {event.step}/{self._steps.last}  {numbers}  {left} left")
        elif isinstance(event, Sampled):
            for line in itertools.chain(*self._samples.take(event)):
                LOG.info("%s", line)
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
        self._samples = SampleLines()

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
        elif isinstance(event, Sampled):
            self._show_samples(event)
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

    def _show_samples(self, event: Sampled) -> None:
        width = None if self._bar is None else self._bar.console.width
        heads, made = self._samples.take(event, width)
        if heads:
            self._say("samples at each evaluation, of these lines of the valid split:")
        for line in (*heads, *made):
            self._write(line)  # texts of the corpus and of the model, which are in no catalogue

    def _say(self, line: str) -> None:
        self._write(localized(line))

    def _write(self, line: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.console.print(line, highlight=False)
        else:
            click.echo(line, err=True)


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
        left = clock(max(self._total - self._done, 0) / rate)
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


def clock(seconds: float) -> str:
    """Returns a time as people read it, such as 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
