"""Options that several verbs share."""

from pathlib import Path
from typing import Any

import click

RUN = click.argument("run", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
CHECKPOINT = click.option(
    "--checkpoint",
    default="best",
    show_default=True,
    help="best, latest or the name of one, as in RUN/checkpoints.",
)
BEAM = click.option("--beam", type=click.IntRange(1), default=5, show_default=True, help="Hypotheses kept; 1: greedy.")
LENGTH_PENALTY = click.option(
    "--length-penalty",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Rank by score / ((5 + pieces) / 6) ^ this; 0 ranks by score.",
)


def print_json(tree: Any) -> None:
    """Prints one JSON value on one line, Chinese as Chinese."""
    import json

    click.echo(json.dumps(tree, ensure_ascii=False))
