"""``clearhead trace``: one sentence followed through tokenizer, encoder and every decoder step."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clearhead.cli.options import CHECKPOINT, DEVICE, FROM, JSON, RUN, TO, print_json, ranged
from clearhead.drawing.screen import console
from clearhead.messages import localized
from clearhead.ranges import Count

if TYPE_CHECKING:
    from rich.console import RenderableType

    from clearhead.tasks.translation.translator import Trace


@click.command("trace")
@RUN
@click.argument("text")
@TO
@FROM
@click.option("--top", type=ranged(Count), default=5, show_default=True, help="Next pieces shown at each step.")
@click.option("--context", default="", metavar="TEXT", help="What stands before TEXT, for a run with data.context = 1.")
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, text: str, *, as_json: bool, **options: Any) -> None:
    """Show how the run in directory RUN translates TEXT, greedily, step by step.

    \b
    clearhead trace RUN "我吃了一个苹果。"
    """
    from clearhead.tasks.translation.translator import Translator

    translator = Translator.load(run, checkpoint=options["checkpoint"], device=options["device"])
    translator = translator.toward(options["to"], options["source_language"])
    trace = translator.trace(text, top=options["top"], context=options["context"])
    if as_json:
        print_json(trace_tree(trace))
        return
    screen = console()
    for part in render(trace):
        screen.print(part)


def trace_tree(trace: "Trace") -> dict[str, object]:
    """The whole trace as JSON values, ids with their pieces."""
    name = trace.pieces
    steps = [
        {
            **asdict(step),
            "input": [name[piece] for piece in step.input_ids],
            "top": [{"id": piece, "piece": name[piece], "probability": value} for piece, value in step.top],
            "chosen": {"id": step.chosen, "piece": name[step.chosen]},
        }
        for step in trace.steps
    ]
    source = [{"id": i, "piece": piece} for i, piece in zip(trace.source_ids, trace.source_pieces, strict=True)]
    tree = {"text": trace.text, "source": source, "shapes": trace.shapes, "steps": steps}
    return {**tree, "translation": trace.translation}


def render(trace: "Trace") -> "list[RenderableType]":
    """Tables for a terminal."""
    from rich.table import Table
    from rich.text import Text

    plain = Text
    source = Table(title=plain(localized("1. text to pieces to ids")), title_justify="left", show_header=False)
    source.add_row(localized("piece"), *(plain(piece) for piece in trace.source_pieces))
    source.add_row("id", *(str(i) for i in trace.source_ids))
    columns = (localized("module"), localized("shape of its output"))
    shapes = Table(*columns, title=localized("2. encoder"), title_justify="left")
    for name, shape in trace.shapes.items():
        shapes.add_row(localized(name), " x ".join(str(size) for size in shape))
    steps = Table(title=localized("3. decoder, one row a step"), title_justify="left")
    for name in (localized("step"), localized("input so far"), localized("most probable next pieces")):
        steps.add_column(name)
    steps.add_column(localized("chosen"))
    steps.add_column(localized("cache read"), justify="right")
    for number, step in enumerate(trace.steps, 1):
        best = "  ".join(f"{trace.pieces[piece]} {value:.1%}" for piece, value in step.top)
        so_far = " ".join(trace.pieces[piece] for piece in step.input_ids)
        steps.add_row(
            str(number),
            plain(so_far),
            plain(best),
            plain(trace.pieces[step.chosen]),
            f"{step.bytes_read:,} B",
        )
    return [source, shapes, steps, plain(f"{trace.text} -> {trace.translation}")]
