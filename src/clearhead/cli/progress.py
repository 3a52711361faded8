"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

import click

from clearhead.cli.options import discard
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
    Skipped,
    Stepped,
)


class ProgressWriter:
    """Shows the loop's events: step, loss, learning rate, tokens/s and time left.

    Training goes on where stderr can no longer be written to, as after its terminal was closed.
    """

    def __init__(self, max_steps: int, targets: str = "tokens", *, every_seconds: float = 10.0) -> None:
        self._max_steps, self._targets, self._every = max_steps, targets, every_seconds
        self._bar: Any = _bar() if sys.stderr.isatty() else None
        self._task: Any = None
        self._shown = 0.0
        self._tokens, self._seconds, self._steps, self._loss = 0, 0.0, 0, 0.0

    def write(self, event: Event) -> None:
        """Shows one event."""
        try:
            self._show(event)
        except OSError:
            discard(sys.stderr)

    def _show(self, event: Event) -> None:
        match event:
            case Stepped():
                self._stepped(event)
            case Skipped():
                self._say(
                    f"step {event.step} skipped: loss {event.loss}, gradient norm {event.grad_norm}, not finite "
                    f"({event.in_row} in a row){event.where and ': ' + event.where}"
                )
            case Diverging():
                self._say(
                    f"step {event.step}: the loss is {event.loss:.3f}, after {event.lowest:.3f} at step "
                    f"{event.lowest_step}: it diverges; train.lr is too high (now {event.lr:g}) or train.warmup_steps "
                    "too few"
                )
            case Counted():
                self._say(f"{event.tokens:,} tokens counted, {event.tokens / event.seconds:,.0f} tokens/s")
            case Evaluated():
                scores = ", ".join(f"{name} {value:.4f}" for name, value in event.scores.items())
                self._say(f"step {event.step}: valid {scores}{' (best)' if event.best else ''}")
            case Finished():
                self._say(f"step {event.step}: finished, {event.reason.replace('_', ' ')}")
            case NotSaved():
                self._say(f"step {event.step}: {localized(event.problem)}{localized('; training goes on')}")
            case Noted():
                self._say(localized(event.line))
            case Saved():
                pass

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            try:
                self._bar.stop()
            except OSError:
                discard(sys.stderr)

    def _stepped(self, event: Stepped) -> None:
        self._tokens, self._seconds = self._tokens + event.tokens, self._seconds + event.seconds
        self._steps, self._loss = self._steps + 1, self._loss + event.loss
        now = time.monotonic()
        last = event.step == self._max_steps
        if now - self._shown < (0.2 if self._bar is not None else self._every) and not last:
            return
        self._shown = now
        left = (self._max_steps - event.step) * self._seconds / self._steps
        numbers = (
            f"loss {self._loss / self._steps:.3f}  lr {event.lr:.2e}  "
            f"{self._tokens / self._seconds:,.0f} {self._targets}/s"
        )
        if self._bar is None:
            self._say(f"step {event.step}/{self._max_steps}  {numbers}  {_clock(left)} left")
        else:
            if self._task is None:
                self._task = self._bar.add_task("training", total=self._max_steps, left="")
                self._bar.start()
            self._bar.update(self._task, completed=event.step, description=numbers, left=_clock(left))
        self._tokens, self._seconds, self._steps, self._loss = 0, 0.0, 0, 0.0

    def _say(self, line: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.console.print(line, highlight=False)
        else:
            click.echo(line, err=True)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[left]} left"),
        console=Console(stderr=True),
        transient=True,
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
