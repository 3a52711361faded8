"""``clearhead classify``: texts or pairs in, a label and its probability out, line by line and in order."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from clearhead.cli.lines import Chunk, answering, input_and_output
from clearhead.cli.options import CHECKPOINT, DEVICE, ENGINE, JSON, RUN, WEIGHTS, print_json
from clearhead.errors import UsageError

LINES = 256  # of stdin that are read before they are classified


@click.command("classify")
@RUN
@click.argument("text", required=False)
@click.option("--pair", metavar="TEXT", help="The second text, for a run that was trained on pairs.")
@WEIGHTS
@ENGINE
@input_and_output
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, text: str | None, pair: str | None, **options: Any) -> None:
    """Say what TEXT is, or each line of stdin, by the classifier in directory RUN.

    A line out for every line in, always and in order: the label, a tab and its probability, or the number. In a line of
    stdin a tab divides the two texts of a pair. --json gives the probability of every class. A line that cannot be
    classified, as an empty one, gives an empty line, and exit code 3 at the end.

    \b
    clearhead classify RUN "a gripping film"
    clearhead classify RUN "A man sleeps." --pair "A man is awake."
    clearhead classify RUN --json < reviews.txt
    """
    if pair is not None and text is None:
        raise UsageError("--pair: needs TEXT; in a line of stdin a tab divides the two")
    from clearhead.verbs.quick import open_classifier

    where = {key: options[key] for key in ("checkpoint", "device", "weights", "engine")}
    classifier = open_classifier(run, **where)
    if pair is not None and classifier.labels.pairs is False:
        raise UsageError(f"--pair: run {str(run)!r} was trained on single texts")
    if pair is None and text is not None and classifier.labels.pairs:
        raise UsageError(f"run {str(run)!r} was trained on pairs: add --pair TEXT")
    asked = [] if text is None else [text]
    where = {"source": options["source"], "output": options["output"]}
    with answering(asked, size=LINES, doing="classifying", **where) as chunks:
        for chunk in chunks:
            inputs: list[Any] = [_pair(line, pair, lines=text is None) for line in chunk.texts]
            _print(chunk, classifier.classify(inputs, on_error=chunk.fail), options["as_json"])


def _pair(text: str, second: str | None, *, lines: bool) -> str | tuple[str, str]:
    """Returns a text, or a pair of texts: of TEXT with ``--pair``, or of a line with a tab."""
    if second is not None:
        return text, second
    first, tab, rest = text.partition("\t")
    return (first, rest) if lines and tab else text


def _print(chunk: Chunk, answers: list[Any], as_json: bool) -> None:
    for number, line, judged, error in chunk.with_errors(answers):
        if judged.dropped:
            chunk.say(number, f"too long, {judged.dropped} pieces were left out")
        _print_one(line, judged, error, as_json)


def _print_one(line: str, judged: Any, error: str, as_json: bool) -> None:
    if as_json and error:
        print_json({"text": line, "error": error})
    elif as_json:
        print_json({key: value for key, value in asdict(judged).items() if value not in (None, {})})
    elif error:
        click.echo()
    else:
        click.echo(f"{judged.score:.4f}" if judged.label is None else f"{judged.label}\t{judged.score:.4f}")
