"""``clearhead inspect``: looks into a trained run, without changing what it computes."""

import logging
import os
from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import CHECKPOINT, DEVICE, JSON, RUN, print_json, ranged, said_every
from clearhead.drawing.screen import console
from clearhead.errors import UsageError, nearest
from clearhead.ranges import Place

SECONDS = 5.0
LINES = {
    "model": "the tree of modules: shapes, parameters, buffers, hooks, FLOPs",
    "memory": "a training step as a ledger that adds up, and its peak",
    "autograd": "the graph from the loss to the leaves, what each node saved, what was overwritten",
    "layout": "strides: which operators copied bytes, and which line asked for it",
    "ops": "operators by time, with their kernels and how near they come to the machine's limit",
    "gradients": "norms by layer over a few steps, update over weight, dead units",
    "optimizer": "groups, state by name, half-life of the average, the rate ahead",
    "checkpoint": "what each saved form holds; RUN may be a bare checkpoint or an exported folder",
    "activations": "curves with derivatives, and the dead units of the run",
    "schedule": "the run's learning rate, and what the other schedules would be",
    "attention": "of TEXT, every layer and head: weights, entropy, type, what is lost without it",
    "steps": "of TEXT, each step of writing, and what its K-V cache moves",
    "beam": "of TEXT, the tree of the search: every hypothesis, when and why it died",
    "embedding": "of TEXT, what goes into each stack: row, position, segment and their sum",
    "query": "of TEXT, one query of one head in numbers: q, k, v, scores, mask, weights, sum",
    "jacobian": "of TEXT, the softmax of that query, and how weights move with scores",
    "rank": "how alike hidden states become, with and without skips, MLPs, norms",
    "norm": "what norms do, in training and inference; gamma and beta over training",
    "parts": "norms, heads, shared keys and values, cache; of runs given by --beside too",
    "hooks": "all kinds of hooks of a module, in the order in which a step calls them",
    "accumulate": "gradients of unequal batches against one batch; zeros against none",
    "all": "of TEXT, what a page has: --html writes one file that opens anywhere",
}
"""What there is to see."""
CHOICES = {
    **dict.fromkeys(("attention", "layer", "head", "query"), ("query", "jacobian")),
    "module": ("hooks",),
    "beside": ("parts",),
}
"""The views that each of these options is for."""


class Listing(click.Command):
    """A command whose help lists the views."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists them behind the options."""
        with formatter.section("Views"):
            formatter.write_dl(list(LINES.items()))


@click.command("inspect", cls=Listing)
@RUN
@click.argument("what")
@click.argument("text", required=False)
@click.option("--batch", metavar="ROWSxLENGTH", help="Random pieces, where there is no TEXT: 2x32 by default.")
@click.option(
    "--attention",
    type=click.Choice(["encoder", "decoder", "cross"]),
    help="query, jacobian: which attention.  [default: cross, where there is]",
)
@click.option("--layer", type=ranged(Place), help="query, jacobian: layer, from 0; -1 is the last.  [default: -1]")
@click.option("--head", type=ranged(Place), help="query, jacobian: head, from 0; -1 is the last.  [default: 0]")
@click.option("--query", type=ranged(Place), help="query, jacobian: position, from 0; -1 is the last.  [default: -1]")
@click.option("--module", help="hooks: its name in the view model.  [default: the first linear layer]")
@click.option("--beside", multiple=True, type=click.Path(path_type=Path), help="parts: another run; may be repeated.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write one self-contained page to this file.")
@click.option("--png", "picture", type=click.Path(path_type=Path), help="Write a picture to this file.")
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, what: str, text: str | None, batch: str | None, as_json: bool, **options: Any) -> None:
    """Show WHAT is inside the model of the run in directory RUN, on TEXT or on random pieces.

    \b
    clearhead inspect RUN model
    """
    if what not in LINES:
        raise UsageError(f"view {what!r}: unknown{nearest(what, LINES)}")
    if batch is not None and text is not None:
        raise UsageError(f"--batch {batch!r}: is for random pieces, and there is a TEXT; leave one of them out")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch's profiler writes to stderr when it starts and stops
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a font of another weight will do
    from clearhead.drawing.page import save_page, save_picture
    from clearhead.inspect.attend.numbers import Pick
    from clearhead.tasks.sample import Shape
    from clearhead.verbs.look.opened import Choice
    from clearhead.verbs.look.views import view_of

    shape = None if batch is None else Shape.parse(batch)
    chosen = {name: options.pop(name) for name in CHOICES}
    for name, value in chosen.items():
        if value not in (None, ()) and what not in CHOICES[name]:
            raise UsageError(f"--{name}: is for {' and '.join(CHOICES[name])}, not for the view {what!r}")
    module, beside = chosen.pop("module"), chosen.pop("beside")
    choice = Choice(Pick(**chosen), module, beside)
    page, picture = options.pop("page"), options.pop("picture")
    view = view_of(what, run, text, shape=shape, choice=choice, progress=said_every(SECONDS), **options)
    if page:
        save_page(view, page)
    if picture:
        save_picture(view, picture)
    if as_json:
        print_json(view.as_dict())
    elif page or picture:
        click.echo("\n".join(str(file) for file in (page, picture) if file))
    else:
        screen = console()
        screen.print(view.renderable(screen.width))
