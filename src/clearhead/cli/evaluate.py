"""``clearhead evaluate``: scores and speed of a run on a split: BLEU and chrF, perplexity, accuracy, confusions."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import (
    BEAM,
    CHECKPOINT,
    DEVICE,
    FROM,
    JSON,
    LENGTH_PENALTY,
    RUN,
    TO,
    TOKENIZE,
    print_json,
    ranged,
    tell,
)
from clearhead.ranges import Length


@click.command("evaluate")
@RUN
@click.option("--data", type=click.Path(path_type=Path), default=".", show_default=True, help="Folder of text files.")
@click.option("--split", default="test", show_default=True, help="train, valid, test, or the stem of other files.")
@TO
@FROM
@TOKENIZE
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Translation: also write the translations to this file. Classifier: draw the confusion matrix as this PNG.",
)
@BEAM
@LENGTH_PENALTY
@click.option(
    "--stride",
    type=ranged(Length),
    help="Language model: pieces that a window scores; the rest of the context is before them.  [default: half]",
)
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, data: Path, split: str, **options: Any) -> None:
    """Score the run in directory RUN on a split.

    Translations are scored against their references, text as it is predicted, masked pieces as they are found, labels
    as they are given.

    \b
    clearhead evaluate RUN --data DIR --split test
    clearhead evaluate RUN --data DIR --split test_2016.tok --tokenize none
    clearhead evaluate RUN --data DIR --to de
    clearhead evaluate GPT --data FILE --split valid --stride 64
    clearhead evaluate BERT --data FILE --split valid
    clearhead evaluate CLASSIFIER --data DIR --split valid --output confusion.png
    """
    from clearhead.tasks.family import EvaluationOptions
    from clearhead.verbs.evaluate import evaluate_run

    options["source"] = options.pop("source_language")
    wanted = EvaluationOptions(**{field.name: options[field.name] for field in fields(EvaluationOptions)})
    where = {"checkpoint": options["checkpoint"], "device": options["device"]}
    step, evaluation = evaluate_run(run, data, split, wanted, **where)
    if options["as_json"]:
        print_json({"run": str(run), "step": step, **evaluation.as_dict()})
    else:
        for line in evaluation.lines(step):
            tell(line)
    if options["output"]:  # behind the scores, which are there where it cannot be written
        evaluation.write(options["output"])
    for warning in [] if options["as_json"] else evaluation.warnings():
        tell(warning, err=True)
