"""``clearhead evaluate``: scores and speed of a run on a split: BLEU and chrF, perplexity, accuracy, confusions."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click

from clearhead.cli.options import BEAM, CHECKPOINT, DEVICE, JSON, LENGTH_PENALTY, RUN, print_json
from clearhead.errors import DataError, UsageError
from clearhead.evaluate.translation import BleuTokenize


@click.command("evaluate")
@RUN
@click.option("--data", type=click.Path(path_type=Path), default=".", show_default=True, help="Folder of text files.")
@click.option("--split", default="test", show_default=True, help="train, valid, test, or the stem of other files.")
@click.option(
    "--tokenize",
    type=click.Choice(get_args(BleuTokenize)),
    help="Translation: sacreBLEU's tokenizer.  [default: by target language: 13a, zh or char]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Translation: also write the translations to this file. Classifier: draw the confusion matrix as this PNG.",
)
@BEAM
@LENGTH_PENALTY
@click.option(
    "--stride",
    type=click.IntRange(1),
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
    clearhead evaluate RUN --data DIR --split test_2016.lc.norm.tok --tokenize none
    clearhead evaluate GPT --data FILE --split valid --stride 64
    clearhead evaluate BERT --data FILE --split valid
    clearhead evaluate CLASSIFIER --data DIR --split valid --output confusion.png
    """
    from clearhead.runs.recipes import VERBS, load_recipe
    from clearhead.tasks.catalog import task_of

    match VERBS[task_of(load_recipe(run), f"recipe of run {str(run)!r}")]:
        case "translate":
            _translation(run, data, split, options)
        case "fill":
            _masked(run, data, split, options)
        case "classify":
            _classifier(run, data, split, options)
        case _:
            _language_model(run, data, split, options)


def _translation(run: Path, data: Path, split: str, options: dict[str, Any]) -> None:
    from clearhead.runs.directory import write_text
    from clearhead.tasks.translation.scoring import evaluate_translator
    from clearhead.tasks.translation.translator import Translator

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


def _language_model(run: Path, data: Path, split: str, options: dict[str, Any]) -> None:
    from clearhead.tasks.language_model.scoring import evaluate_language_model
    from clearhead.verbs.load import load_language_model

    model = load_language_model(run, checkpoint=options["checkpoint"], device=options["device"])
    found = evaluate_language_model(model, data, split, stride=options["stride"])
    scores = found.scores
    if options["as_json"]:
        tree = {key: value for key, value in asdict(found).items() if key != "scores"}
        print_json({"run": str(run), "step": model.step, **tree, **asdict(scores)})
        return
    window = f"context {found.context}, at least {found.context - found.stride} pieces before each but the first"
    click.echo(f"{split}: {scores.tokens:,} tokens, step {model.step:,}, {window}")
    click.echo(f"loss             {scores.loss:8.4f}   nats per token")
    click.echo(f"perplexity       {scores.perplexity:8.2f}   per token")
    click.echo(f"nats a character {scores.nats_per_character:8.4f}")
    click.echo(f"bits a byte      {scores.bits_per_byte:8.4f}")
    click.echo(f"word perplexity  {scores.word_perplexity:8.2f}   over {scores.words:,} words and line ends")
    click.echo(f"speed            {found.tokens_per_second:8.0f}   tokens per second")


def _masked(run: Path, data: Path, split: str, options: dict[str, Any]) -> None:
    from clearhead.tasks.masked.model import MaskedModel
    from clearhead.tasks.masked.scoring import evaluate_masked

    model = MaskedModel.load(run, checkpoint=options["checkpoint"], device=options["device"])
    found = evaluate_masked(model, data, split)
    scores = found.scores
    if options["as_json"]:
        tree = {key: value for key, value in asdict(found).items() if key != "scores"}
        perplexity = {"pseudo_perplexity": scores.pseudo_perplexity}
        print_json({"run": str(run), "step": model.step, **tree, **asdict(scores), **perplexity})
        return
    click.echo(f"{split}: {scores.pieces:,} masked pieces, {scores.pairs:,} pairs, step {model.step:,}")
    click.echo(f"loss               {scores.loss:8.4f}   nats per masked piece")
    click.echo(f"pseudo-perplexity  {scores.pseudo_perplexity:8.2f}   per masked piece")
    click.echo(f"MLM accuracy       {scores.mlm_accuracy:8.2%}   of the masked pieces")
    if scores.nsp_accuracy is not None:
        click.echo(f"NSP accuracy       {scores.nsp_accuracy:8.2%}   of the pairs, at {scores.nsp_loss:.4f} nats each")
    click.echo(f"speed              {found.positions_per_second:8.0f}   pieces and marks per second")


def _classifier(run: Path, data: Path, split: str, options: dict[str, Any]) -> None:
    from clearhead.evaluate.classification import ClassificationScores, confusion_text
    from clearhead.tasks.classify.classifier import Classifier

    classifier = Classifier.load(run, checkpoint=options["checkpoint"], device=options["device"])
    found = classifier.evaluate(data, split)
    scores, report = found.scores, found.report
    if options["output"]:
        _draw(scores, options["output"])
    if options["as_json"]:
        tree = {"split": split, "loss": found.loss, **asdict(scores), "lines_per_second": found.lines_per_second}
        print_json({"run": str(run), "step": classifier.step, **tree, "truncated": report.truncated})
        return
    click.echo(f"{split}: {scores.lines:,} lines, step {classifier.step:,}, {report.truncated:,} of them truncated")
    if isinstance(scores, ClassificationScores):
        lines = [*scores.text(), "", *confusion_text(scores), ""]
    else:
        lines = [f"Pearson {scores.pearson:.4f}, Spearman {scores.spearman:.4f}, squared error {scores.mse:.4f}"]
    for line in lines:
        click.echo(line)
    click.echo(f"speed {found.lines_per_second:.0f} lines per second")


def _draw(scores: Any, picture: Path) -> None:
    from clearhead.evaluate.classification import ClassificationScores, draw_confusion

    if not isinstance(scores, ClassificationScores):
        raise UsageError("--output: numbers have no confusion matrix to draw")
    try:
        drawn = draw_confusion(scores, picture)
    except (OSError, ValueError) as error:
        raise DataError(f"{str(picture)!r} cannot be written: {error}") from error
    if not drawn:
        raise UsageError("--output: needs the extra, pip install 'clearhead[plots]'")
