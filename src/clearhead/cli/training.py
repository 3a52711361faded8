"""What ``clearhead train`` and ``clearhead demo`` share: progress, reports, the dry run."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click

from clearhead.cli.options import is_first, print_json
from clearhead.cli.progress import ProgressWriter
from clearhead.config import as_tree, write_toml
from clearhead.messages import localized
from clearhead.tasks.forecast import lr_curve, try_steps
from clearhead.tasks.job import GradientJob, Job
from clearhead.tasks.plan import Plan, forecast
from clearhead.tasks.repeat import Repeats, Summary, open_folder, repeat
from clearhead.tasks.run import read_recipe
from clearhead.tasks.training import TrainResult, begin, prepare_new, train_run
from clearhead.train.writers import TensorBoardWriter, Writer


def train(
    recipe: str,
    data: Path,
    out: Path | None,
    overrides: Sequence[str],
    *,
    resume: bool,
    checkpoint: str = "latest",
    allow: Sequence[str] = (),
    tensorboard: bool = False,
) -> TrainResult:
    """Trains with the report and progress on stderr."""
    with begin(
        recipe, data, out, overrides=overrides, resume=resume, checkpoint=checkpoint, allow=allow, progress=_encoding
    ) as begun:
        job, run = begun.job, begun.run
        writers: list[Writer] = []
        planned: Plan | None = None
        if is_first():
            planned = report(job)
            click.echo(f"run directory: {run}", err=True)
            writers.append(ProgressWriter(job.max_steps, job.targets))
        if tensorboard and is_first():
            writers.append(TensorBoardWriter(run / "tensorboard"))
        result = train_run(job, run, writers, begun.notes)
        return replace(result, memory=planned.memory) if planned else result


def train_several(
    recipe: str, data: Path, out: Path | None, overrides: Sequence[str], *, repeats: Repeats, resume: bool
) -> Summary | TrainResult:
    """Trains the runs that ``repeats`` asks for, each with its report and progress on stderr."""
    tree = read_recipe(recipe, overrides)
    members = repeats.members(tree)
    folder = open_folder(tree["name"], out, resume=resume)
    return repeat(folder, members, lambda run, more: train(recipe, data, run, [*overrides, *more], resume=True))


def report(job: Job) -> Plan | None:
    """Says on stderr what was read and built, and what memory it will take; returns that forecast."""
    for line in [*job.reports()["train"].lines(), job.headline(), *map(localized, job.warnings())]:
        click.echo(line, err=True)
    planned = forecast(job) if isinstance(job, GradientJob) else None
    for line in planned.memory_lines() if planned else []:
        click.echo(localized(line), err=True)
    return planned


def dry_run(recipe: str, data: Path, overrides: Sequence[str], *, as_json: bool) -> int:
    """Prepares everything, takes three steps on the largest batches, and reports; no run is written.

    What is learned in one pass has no steps to take: of it the recipe and the text are reported.
    """
    tree = read_recipe(recipe, overrides)
    job = prepare_new(tree, data, progress=_encoding, source=f"recipe {recipe!r}")
    if isinstance(job, GradientJob):
        job.arrange()
    tried = try_steps(job) if isinstance(job, GradientJob) else None
    if as_json:
        planned = forecast(job) if isinstance(job, GradientJob) else None
        found = {**(asdict(tried) if tried else {}), **({"memory": planned.memory} if planned else {})}
        print_json({"recipe": as_tree(job.recipe), "data": job.reports()["train"].as_dict(), **found})
        return 0
    click.echo(write_toml(as_tree(job.recipe)))
    report(job)
    lines = ["one pass over the text: there are no steps to try"]
    if tried and isinstance(job, GradientJob):
        lines = [f"learning rate over the run: {lr_curve(job)}", *tried.lines()]
    for line in lines:
        click.echo(line, err=True)
    return 0


def _encoding(done: int, total: int) -> None:
    if total > 200_000:  # a small corpus is encoded before anyone could read this
        click.echo(f"encoded {done / total:.0%} of the text", err=True)
