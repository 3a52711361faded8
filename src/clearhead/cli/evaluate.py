"""``clearhead evaluate``: BLEU, chrF, loss and speed of a run on a split."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click

from clearhead.cli.options import BEAM, CHECKPOINT, DEVICE, JSON, LENGTH_PENALTY, RUN, print_json
from clearhead.evaluate.translation import BleuTokenize


@click.command("evaluate")
@RUN
@click.option("--data", type=click.Path(path_type=Path), default=".", show_default=True, help="Folder of text files.")
@click.option("--split", default="test", show_default=True, help="train, valid, test, or the stem of other files.")
@click.option(
    "--tokenize",
    type=click.Choice(get_args(BleuTokenize)),
    help="sacreBLEU's tokenizer.  [default: by target language: 13a, zh or char]",
)
@click.option("--output", type=click.Path(path_type=Path), help="Also write the translations to this file.")
@BEAM
@LENGTH_PENALTY
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, data: Path, split: str, **options: Any) -> None:
    r"""Translate a split with the run in directory RUN and score it.

    \b
    clearhead evaluate RUN --data DIR --split test
    clearhead evaluate RUN --data DIR --split test_2016.lc.norm.tok --tokenize none
    """
    from clearhead.tasks.run import write_text
    from clearhead.tasks.scoring import evaluate_translator
    from clearhead.tasks.translator import Translator

    translator = Translator.load(run, checkpoint=options["checkpoint"], device=options["device"])
    found = evaluate_translator(
        translator,
        data,
        split,
        beam=options["beam"],
        length_penalty=options["length_penalty"],
        tokenize=options["tokenize"],
    )
    if options["output"]:
        write_text(options["output"], "".join(line + "\n" for line in found.translations))
    tree = {key: value for key, value in asdict(found).items() if key != "translations"}
    scores = tree.pop("scores")
    if options["as_json"]:
        print_json({"run": str(run), "step": translator.step, **tree, **scores})
        return
    click.echo(f"{found.split}: {found.sentences:,} sentences, step {translator.step:,}, beam {options['beam']}")
    click.echo(f"BLEU   {found.scores.bleu:6.2f}   {found.scores.bleu_signature}")
    click.echo(f"chrF2  {found.scores.chrf:6.2f}   {found.scores.chrf_signature}")
    click.echo(f"exact  {found.scores.exact_match:6.2f} % equal to their reference")
    click.echo(f"loss   {found.loss:6.3f}   nats per target piece, over {found.loss_pairs:,} pairs")
    click.echo(f"speed  {found.tokens_per_second:6.0f}   target pieces per second")
    if found.incomplete:
        click.echo(f"{found.incomplete} translations reached the length limit without an end", err=True)
