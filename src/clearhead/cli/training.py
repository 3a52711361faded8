"""What ``clearhead train`` and ``clearhead demo`` share: progress, reports, the dry run."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from clearhead.cli.options import print_json
from clearhead.cli.progress import ProgressWriter
from clearhead.config import as_tree, write_toml
from clearhead.tasks.forecast import lr_curve, try_steps
from clearhead.tasks.run import read_recipe
from clearhead.tasks.training import TrainResult, begin, prepare_new, train_run
from clearhead.tasks.translation import Prepared
from clearhead.train.writers import TensorBoardWriter, Writer


def train(
    recipe: str,
    data: Path,
    out: Path | None,
    overrides: Sequence[str],
    *,
    resume: bool,
    tensorboard: bool = False,
) -> TrainResult:
    """Trains with the report and progress on stderr."""
    prepared, run = begin(recipe, data, out, overrides=overrides, resume=resume, progress=_encoding)
    report(prepared)
    click.echo(f"run directory: {run}", err=True)
    writers: list[Writer] = [ProgressWriter(prepared.recipe.train.max_steps)]
    if tensorboard:
        writers.append(TensorBoardWriter(run / "tensorboard"))
    return train_run(prepared, run, writers)


def report(prepared: Prepared) -> None:
    """Says on stderr what was read and built."""
    for line in prepared.train.report.lines():
        click.echo(line, err=True)
    model, tokenizers = prepared.state.model, prepared.tokenizers
    parameters = sum(parameter.numel() for parameter in model.parameters())
    vocabulary = f"{tokenizers.src.vocab_size:,} + {tokenizers.tgt.vocab_size:,} pieces"
    if tokenizers.src is tokenizers.tgt:
        vocabulary = f"{tokenizers.src.vocab_size:,} pieces for both languages"
    click.echo(f"model: {parameters:,} parameters, {vocabulary}, on {prepared.device}", err=True)


def dry_run(recipe: str, data: Path, overrides: Sequence[str], *, as_json: bool) -> int:
    """Prepares everything, takes three steps on the largest batches, and reports; no run is written."""
    tree = read_recipe(recipe, overrides)
    prepared = prepare_new(tree, data, progress=_encoding, source=f"recipe {recipe!r}")
    forecast = try_steps(prepared)
    if as_json:
        print_json({"recipe": as_tree(prepared.recipe), "data": prepared.train.report.as_dict(), **asdict(forecast)})
        return 0
    click.echo(write_toml(as_tree(prepared.recipe)))
    report(prepared)
    click.echo(f"learning rate over the run: {lr_curve(prepared.recipe)}", err=True)
    for line in forecast.lines():
        click.echo(line, err=True)
    return 0


def _encoding(done: int, total: int) -> None:
    if total > 200_000:  # a small corpus is encoded before anyone could read this
        click.echo(f"encoded {done:,} of {total:,} lines", err=True)
