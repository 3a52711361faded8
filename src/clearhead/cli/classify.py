"""``clearhead classify``: texts or pairs in, a label and its probability out, line by line and in order."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import CHECKPOINT, DEVICE, JSON, RUN, print_json, stdin_lines
from clearhead.errors import UsageError

LINES = 256  # of stdin that are read before they are classified


@click.command("classify")
@RUN
@click.argument("text", required=False)
@click.option("--pair", metavar="TEXT", help="The second text, for a run that was trained on pairs.")
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, text: str | None, pair: str | None, **options: Any) -> None:
    """Say what TEXT is, or each line of stdin, by the classifier in directory RUN.

    A line out for every line in, always and in order: the label, a tab and its probability, or the number. In a line of
    stdin a tab divides the two texts of a pair. --json gives the probability of every class.

    \b
    clearhead classify RUN "a gripping film"
    clearhead classify RUN "A man sleeps." --pair "A man is awake."
    clearhead classify RUN --json < reviews.txt
    """
    if pair is not None and text is None:
        raise UsageError("--pair: needs TEXT; in a line of stdin a tab divides the two")
    from clearhead.tasks.classify.classifier import Classifier

    classifier = Classifier.load(run, checkpoint=options["checkpoint"], device=options["device"])
    if pair is not None and classifier.labels.pairs is False:
        raise UsageError(f"--pair: run {str(run)!r} was trained on single texts")
    if pair is None and text is not None and classifier.labels.pairs:
        raise UsageError(f"run {str(run)!r} was trained on pairs: add --pair TEXT")
    name = "stdin line" if text is None else "text"
    for first, inputs in _inputs(text, pair):
        for number, judged in enumerate(classifier.classify(inputs, name=name, first=first), first):
            if judged.dropped:
                click.echo(f"clearhead: {name} {number}: too long, {judged.dropped} pieces were left out", err=True)
            if options["as_json"]:
                print_json({key: value for key, value in asdict(judged).items() if value not in (None, {})})
            else:
                click.echo(f"{judged.score:.4f}" if judged.label is None else f"{judged.label}\t{judged.score:.4f}")
        sys.stdout.flush()


def _inputs(text: str | None, pair: str | None) -> Iterator[tuple[int, list[Any]]]:
    """Yields (number of the first, texts or pairs): TEXT alone, or stdin's lines."""
    if text is not None:
        yield 1, [text if pair is None else (text, pair)]
        return
    first = 1
    for lines in stdin_lines(LINES, doing="classifying"):
        yield first, [tuple(line.split("\t", 1)) if "\t" in line else line for line in lines]
        first += len(lines)
