"""What several verbs share: options, JSON to stdout."""

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from clearhead.drawing.screen import discard, folded
from clearhead.messages import localized
from clearhead.ranges import Beam, LengthPenalty, range_of
from clearhead.text.language import BleuTokenize


class _Whole(click.IntRange):
    """A range of integers; of a value that is too long an error shows the beginning."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See ``click.ParamType``."""
        return super().convert(_cut(value), param, ctx)


class _Real(click.FloatRange):
    """A range of numbers that nan is outside of, which is neither below nor above its ends."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See ``click.ParamType``."""
        number = super().convert(_cut(value), param, ctx)
        if math.isnan(number):
            low, high = ("<" if is_open else "<=" for is_open in (self.min_open, self.max_open))
            self.fail(f"{value} is not in the range {self.min}{low}x{high}{self.max}.", param, ctx)
        return number


def _cut(value: Any) -> Any:
    return f"{value[:40]}..." if isinstance(value, str) and len(value) > 400 else value


def ranged(kind: Any) -> click.ParamType[Any]:
    """Returns the type of an option from its kind in ``clearhead.ranges``."""
    of, low, high, low_open, high_open = range_of(kind)
    make: Any = _Whole if of is int else _Real
    return make(low, high, min_open=low_open, max_open=high_open)


RUN = click.argument("run", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
CHECKPOINT = click.option(
    "--checkpoint",
    default="best",
    show_default=True,
    help="best, latest or the name of one, as in RUN/checkpoints.",
)
ENGINE = click.option(
    "--engine",
    type=click.Choice(["auto", "native", "torch"]),
    default="auto",
    show_default=True,
    help="What computes on a CPU: the native engine where it covers the model, that or an error, or PyTorch.",
)
BEAM = click.option("--beam", type=ranged(Beam), default=5, show_default=True, help="Hypotheses kept; 1: greedy.")
WEIGHTS = click.option(
    "--weights",
    type=click.Choice(["float32", "bfloat16", "int8", "int4"]),
    default="float32",
    show_default=True,
    help="As a CPU holds them. int8 is faster, and nearly the same model; int4 is half of that, and further off.",
)
TOKENIZE = click.option(
    "--tokenize",
    type=click.Choice(get_args(BleuTokenize)),
    help="Translation: sacreBLEU's tokenizer.  [default: the recipe's, by target language 13a, zh or char]",
)
TO = click.option("--to", default="", metavar="LANGUAGE", help="Of a run of several languages: that of translations.")
FROM = click.option(
    "--from",
    "source_language",
    default="",
    metavar="LANGUAGE",
    help="Likewise that of the text, where --to leaves it open.",
)
LENGTH_PENALTY = click.option(
    "--length-penalty",
    type=ranged(LengthPenalty),
    default=1.0,
    show_default=True,
    help="Rank by score / ((5 + pieces) / 6) ^ this; 0 ranks by score.",
)


def is_first() -> bool:
    """Whether this is the process that speaks: the only one, or the first of those that torchrun started."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"


def tell(line: str = "", *, err: bool = False) -> None:
    """Prints a line of the program itself, in the reader's language."""
    click.echo(localized(line) if err else folded(localized(line)), err=err)


def say(line: str, *, err: bool = True) -> None:
    """Prints a line of a verb that must come to its end, though its terminal may be closed or its pipe unread.

    On stderr it is of the program and in the reader's language; on stdout it is a value, such as a path.
    """
    try:
        click.echo(localized(line) if err else line, err=err)
    except OSError:
        discard(sys.stderr if err else sys.stdout)


def said_every(seconds: float) -> Callable[[int, int], None]:
    """Returns what says on stderr how far something is, every so many seconds."""
    last = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds and done < total:
            last = time.monotonic()
            tell(f"{done:,} of {total:,}", err=True)

    return say


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
