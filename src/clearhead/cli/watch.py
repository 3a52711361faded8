"""``clearhead watch``: a run in progress, seen from another terminal."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clearhead.cli.options import JSON, RUN, print_json, tell
from clearhead.errors import ModelError
from clearhead.messages import localized

if TYPE_CHECKING:
    from rich.console import RenderableType

    from clearhead.verbs.watch.state import RunState

EVERY = 1.0  # seconds between two looks
LINE_EVERY = 10.0  # seconds between two lines on steps, where lines are piped


@click.command("watch")
@RUN
@click.option("--once", is_flag=True, help="Show how far it is, and end.")
@JSON
def command(run: Path, once: bool, as_json: bool) -> None:
    """Follow the run in directory RUN: step, loss, speed, time left, scores, and the last samples.

    It reads the files of the run as they grow, and ends with the run, or with Ctrl-C; training takes no notice. A run
    that does not exist yet is waited for. A terminal shows a picture that changes, a pipe gets lines. --json prints
    how far the run is, once.

    \b
    clearhead watch RUN
    clearhead watch RUN --once
    """
    from clearhead.verbs.watch.follow import look

    if as_json or once:
        state = look(run)
        if state.status == "absent":
            raise ModelError(f"run {str(run)!r}: no such directory")
        if as_json:
            print_json(state.as_dict())
        else:
            _print(state)
    else:
        try:
            (_on_terminal if sys.stdout.isatty() else _in_lines)(run)
        except KeyboardInterrupt:
            return  # it is how a reader leaves


def _pause() -> None:
    time.sleep(EVERY)


def _in_lines(run: Path) -> None:
    """Prints how far the run is, then a line for each event, and one on the steps every few seconds."""
    from clearhead.verbs.watch.follow import follow

    looks = follow(run, _pause)
    before, _ = next(looks)
    _print(before)
    said, step = time.monotonic(), before.step
    for state, added in looks:
        ends = state.over or state.status == "ending"
        if state.status != before.status and not ends:
            tell(state.headline())
        for line in _lines_of(added):
            tell(line)
        if state.samples != before.samples:
            _write(state.sampled())
        late = ends or time.monotonic() - said >= LINE_EVERY
        if state.step != step and late and state.progress():
            tell(state.progress())
            said, step = time.monotonic(), state.step
        if state.status != before.status and ends:
            tell(state.headline())
        before = state
        sys.stdout.flush()


def _lines_of(records: list[dict[str, Any]]) -> list[str]:
    """Returns what records of ``metrics.jsonl`` tell, each in a line; the end of a run has its own."""
    from clearhead.training.writers import event_of
    from clearhead.verbs.progress import line_of

    events = [event_of(record) for record in records if record["event"] != "finished"]
    return [line for line in (line_of(event) for event in events if event) if line]


def _print(state: "RunState") -> None:
    """Prints all that is known of a run."""
    tell(state.headline())
    if state.progress():
        tell(state.progress())
    if state.evaluations:
        tell("scores on the valid split:")
        _write([f"  {line}" for line in state.table()])
    if state.samples:
        tell(f"samples at step {state.samples.step:,}:")
        _write(state.sampled())


def _write(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)  # texts of the corpus and of the model, which are in no catalogue


def _on_terminal(run: Path) -> None:
    """Shows a picture of the run that changes, and leaves the last one there."""
    from rich.live import Live

    from clearhead.drawing.screen import console
    from clearhead.verbs.watch.follow import follow

    screen = console(markup=False)
    with Live(console=screen, auto_refresh=False, vertical_overflow="ellipsis") as live:
        for state, _ in follow(run, _pause):
            live.update(_picture(state, screen.width), refresh=True)


def _picture(state: "RunState", width: int) -> "RenderableType":
    """Returns a run as one picture: what it does, a bar, the scores, the samples."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    parts: list[Any] = [Text(localized(state.headline()), style="bold")]
    if state.progress():
        if state.last:
            parts.append(ProgressBar(total=state.last, completed=min(state.step, state.last), width=min(width, 60)))
        parts.append(Text(localized(state.progress())))
    if state.evaluations:
        parts.append(Text(localized("scores on the valid split:"), style="dim"))
        parts += [Text(f"  {line}", no_wrap=True, overflow="ellipsis") for line in state.table()]
    if state.samples:
        parts.append(Text(localized(f"samples at step {state.samples.step:,}:"), style="dim"))
        lines = state.sampled(width)
        parts += [Text(line, style="dim" if not at % 2 else "") for at, line in enumerate(lines)]
    return Group(*parts)
