"""What ``clearhead train`` and ``clearhead demo`` share: progress, reports, the dry run."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click

from clearhead.cli.options import is_first, print_json
from clearhead.cli.progress import ProgressWriter
from clearhead.config import as_tree, write_toml
from clearhead.messages import localized
from clearhead.runs.recipes import read_recipe
from clearhead.training.job import GradientJob, Job
from clearhead.training.writers import TensorBoardWriter, Writer
from clearhead.verbs.plan import Plan, forecast
from clearhead.verbs.repeat import Repeats, Summary, open_folder, repeat
from clearhead.verbs.train import Begun, TrainResult, begin, prepare_new, train_run
from clearhead.verbs.trial import lr_curve, try_steps


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
        planned = forecast_of(begun.job) if is_first() else None
        result = _follow(begun, planned, tensorboard=tensorboard)
        return replace(result, memory=planned.memory) if planned else result


def _follow(begun: Begun, planned: Plan | None, *, tensorboard: bool = False) -> TrainResult:
    job, run = begun.job, begun.run
    writers: list[Writer] = []
    if is_first():
        report(job, planned)
        click.echo(f"run directory: {run}", err=True)
        writers.append(ProgressWriter(job.max_steps, job.targets))
    if tensorboard and is_first():
        writers.append(TensorBoardWriter(run / "tensorboard"))
    return train_run(job, run, writers, begun.notes)


def train_several(
    recipe: str, data: Path, out: Path | None, overrides: Sequence[str], *, repeats: Repeats, resume: bool
) -> Summary | TrainResult:
    """Trains the runs that ``repeats`` asks for, each with its report and progress on stderr.

    Memory is forecast before the first alone: the next ones are as large, in a process that has kept what it freed.
    """
    tree = read_recipe(recipe, overrides)
    members = repeats.members(tree)
    folder = open_folder(tree["name"], out, resume=resume)
    begun_before = False

    def one(run: Path, more: Sequence[str]) -> TrainResult:
        nonlocal begun_before
        with begin(recipe, data, run, overrides=[*overrides, *more], resume=True, progress=_encoding) as begun:
            planned = forecast_of(begun.job) if is_first() and not begun_before else None
            begun_before = True
            return _follow(begun, planned)

    return repeat(folder, members, one)


def forecast_of(job: Job) -> Plan | None:
    """Returns the forecast of a run that takes steps, before it has taken any."""
    return forecast(job) if isinstance(job, GradientJob) else None


def report(job: Job, planned: Plan | None) -> None:
    """Says on stderr what was read and built, and what memory it will take."""
    for line in [*job.reports()["train"].lines(), job.headline(), *map(localized, job.warnings())]:
        click.echo(line, err=True)
    for line in planned.memory_lines() if planned else []:
        click.echo(localized(line), err=True)


def dry_run(recipe: str, data: Path, overrides: Sequence[str], *, as_json: bool) -> int:
    """Prepares everything, takes three steps on the largest batches, and reports; no run is written.

    What is learned in one pass has no steps to take: of it the recipe and the text are reported.
    """
    tree = read_recipe(recipe, overrides)
    job = prepare_new(tree, data, progress=_encoding, source=f"recipe {recipe!r}")
    if isinstance(job, GradientJob):
        job.arrange()
    planned = forecast_of(job)  # before the steps, whose memory the process keeps
    tried = try_steps(job) if isinstance(job, GradientJob) else None
    if as_json:
        found = {**(asdict(tried) if tried else {}), **({"memory": planned.memory} if planned else {})}
        print_json({"recipe": as_tree(job.recipe), "data": job.reports()["train"].as_dict(), **found})
        return 0
    click.echo(write_toml(as_tree(job.recipe)))
    report(job, planned)
    lines = ["one pass over the text: there are no steps to try"]
    if tried and isinstance(job, GradientJob):
        lines = [f"learning rate over the run: {lr_curve(job)}", *tried.lines()]
    for line in lines:
        click.echo(line, err=True)
    return 0


def _encoding(done: int, total: int) -> None:
    if total > 200_000:  # a small corpus is encoded before anyone could read this
        click.echo(f"encoded {done / total:.0%} of the text", err=True)
