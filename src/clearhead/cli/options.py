"""What several verbs share: options, JSON to stdout."""

import os
from pathlib import Path
from typing import Any, get_args

import click

from clearhead.text.language import BleuTokenize

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
TOKENIZE = click.option(
    "--tokenize",
    type=click.Choice(get_args(BleuTokenize)),
    help="Translation: sacreBLEU's tokenizer.  [default: the recipe's, by target language 13a, zh or char]",
)
LENGTH_PENALTY = click.option(
    "--length-penalty",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Rank by score / ((5 + pieces) / 6) ^ this; 0 ranks by score.",
)


def is_first() -> bool:
    """Whether this is the process that speaks: the only one, or the first of those that torchrun started."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"


def print_json(tree: Any) -> None:
    """Prints one JSON value on one line, Chinese as Chinese; NaN and infinity, which JSON does not have, as null."""
    import json

    try:
        text = json.dumps(tree, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(tree), ensure_ascii=False)
    click.echo(text)


def _finite(tree: Any) -> Any:
    match tree:
        case dict():
            return {key: _finite(value) for key, value in tree.items()}
        case list() | tuple():
            return list(map(_finite, tree))
        case float():
            return tree if abs(tree) < float("inf") else None
        case _:
            return tree
