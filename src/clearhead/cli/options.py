"""What several verbs share: options, lines from stdin, JSON to stdout."""

import contextlib
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from clearhead.errors import DataError

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


def is_first() -> bool:
    """Whether this is the process that speaks: the only one, or the first of those that torchrun started."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"


def say(line: str, *, err: bool = True) -> None:
    """Prints a line of a verb that must come to its end, though its terminal may be closed or its pipe unread."""
    try:
        click.echo(line, err=err)
    except OSError:
        discard(sys.stderr if err else sys.stdout)


def discard(stream: Any) -> None:
    """Drops what is printed to ``stream``, a standard stream that cannot be written to, from now on."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


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


def texts_of(text: str | None, size: int, *, doing: str) -> Iterator[list[str]]:
    """Yields lists of texts: the one that was given, or stdin's lines where there is none or it is ``-``.

    Further arguments and errors as in ``stdin_lines``.
    """
    if text not in (None, "-"):
        yield [str(text)]
    else:
        yield from stdin_lines(size, doing=doing)


def stdin_lines(size: int, *, doing: str) -> Iterator[list[str]]:
    """Yields stdin in lists of ``size`` lines, without their ends; where a person types, each line as it comes.

    Args:
        size: lines of a list.
        doing: what a person who types is told is done with the lines.

    Raises:
        DataError: a line is not UTF-8 (says which).
    """
    if sys.stdin.isatty():
        click.echo(f"{doing} what you type, line by line; Ctrl-D ends", err=True)
        size = 1
    lines = _decoded(sys.stdin.buffer)
    while chunk := list(islice(lines, size)):
        yield chunk


def _decoded(stream: Any) -> Iterator[str]:
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise DataError(f"stdin line {number} is not UTF-8 (byte {error.start + 1} of the line)") from error
