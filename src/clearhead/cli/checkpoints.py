"""``clearhead checkpoints``: what a run keeps, of what size, and whether it is whole."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.cells import cell_len

from clearhead.cli.options import JSON, RUN, print_json, tell
from clearhead.drawing.screen import columns
from clearhead.drawing.wording import padded
from clearhead.errors import ModelError
from clearhead.messages import localized

if TYPE_CHECKING:
    from clearhead.runs.listing import SavedCheckpoint


@click.command("checkpoints")
@RUN
@click.option("--verify", is_flag=True, help="Check every file against its size and checksum.")
@JSON
def command(run: Path, verify: bool, as_json: bool) -> None:
    """List the checkpoints of the run in directory RUN: step, score, and bytes of weights, optimizer and average.

    The exit code is 4 if one is damaged, after all have been listed. --verify finds every flipped bit, also in the
    run's own recipe, tokenizers and labels.

    \b
    clearhead checkpoints RUN
    clearhead checkpoints RUN --verify --json
    """
    from clearhead.runs.listing import other_problems, saved_checkpoints
    from clearhead.tasks.expanded import run_directory

    run = run_directory(run)

    checkpoints = saved_checkpoints(run, verify=verify)
    if as_json:
        print_json([checkpoint.as_dict() for checkpoint in checkpoints])
    else:
        for line in _lines(checkpoints):
            click.echo(line)
    problems = [checkpoint.problem for checkpoint in checkpoints if checkpoint.problem]
    problems += other_problems(run, verify=verify)
    for problem in problems[1:]:
        tell(f"clearhead: {problem}", err=True)
    if problems:
        raise ModelError(problems[0])


def _lines(checkpoints: "list[SavedCheckpoint]") -> list[str]:
    """Returns a line for each; on a screen that is too narrow for it, a table whose cells wrap."""
    if not checkpoints:
        return [localized("no checkpoints")]
    rows = _rows(checkpoints)
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    room = columns()
    if room is None or max(map(cell_len, lines)) <= room:
        return lines
    from clearhead.drawing.report import Table, text_of

    where, (head, *narrow) = checkpoints[0].path.parent, _rows(checkpoints, narrow=True)
    return text_of(Table(f"checkpoints in {where}", tuple(head), list(map(tuple, narrow))), room)


def _rows(checkpoints: "list[SavedCheckpoint]", *, narrow: bool = False) -> list[list[str]]:
    """Returns the cells of all lines; ``narrow``: with the optimizer's state as one."""
    if narrow:
        checkpoints = [replace(checkpoint, sizes=_summed(checkpoint.sizes)) for checkpoint in checkpoints]
    parts = list(dict.fromkeys(part for checkpoint in checkpoints for part in checkpoint.sizes))
    rows = [[localized("checkpoint"), localized("step"), localized("score"), *map(_word, parts), localized("all"), ""]]
    for checkpoint in checkpoints:
        sizes = [_size(checkpoint.sizes.get(part)) for part in parts]
        marks = list(checkpoint.marks)
        if checkpoint.problem:
            marks.append("DAMAGED")
        elif checkpoint.verified:
            marks.append("whole")
        step = "-" if checkpoint.step is None else f"{checkpoint.step:,}"
        rows.append(
            [
                checkpoint.path.name,
                step,
                _score(checkpoint.scores),
                *sizes,
                _size(checkpoint.bytes),
                ", ".join(map(localized, marks)),
            ]
        )
    return rows


def _summed(sizes: dict[str, int]) -> dict[str, int]:
    kinds = {part.partition(" ")[0]: 0 for part in sizes}
    for part, size in sizes.items():
        kinds[part.partition(" ")[0]] += size
    return kinds


def _word(part: str) -> str:
    """Returns what a part of a checkpoint is called; names of an optimizer's state are PyTorch's."""
    kind, _, slot = part.partition(" ")
    return f"{localized(kind)} {slot}".rstrip()


def _score(scores: dict[str, Any]) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in scores.items()) or "-"


def _size(count: int | None) -> str:
    if count is None:
        return "-"
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"
