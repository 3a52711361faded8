"""``clearhead train``: from a recipe and a folder of text to a run directory."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clearhead.cli.options import is_first, print_json, ranged, say, tell
from clearhead.errors import UsageError
from clearhead.ranges import Several

if TYPE_CHECKING:
    from clearhead.training.job import Job
    from clearhead.verbs.plan import Plan
    from clearhead.verbs.repeat import Summary
    from clearhead.verbs.train import OpenedRun, TrainResult


@click.command("train")
@click.argument("recipe")
@click.option("--data", type=click.Path(path_type=Path), default=".", show_default=True, help="Folder of text files.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [default: runs/NAME-NNN]")
@click.option("--src", help="Source language: the ending of its files.")
@click.option("--tgt", help="Target language.")
@click.option(
    "--from", "start", metavar="RUN", help="Train this run's (or Hugging Face folder's) model further, vocabulary kept."
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out; starts it where it has no checkpoint yet.")
@click.option("--checkpoint", default="latest", show_default=True, help="With --resume: where to go on from.")
@click.option(
    "--allow-change",
    "allow",
    multiple=True,
    metavar="KEY",
    help="With --resume: a recipe key that may differ, or data; may be repeated.",
)
@click.option("--budget", metavar="TIME", help="Time for the whole run, 20m or 1h30m: its steps and rates are sized.")
@click.option("--dry-run", is_flag=True, help="Report on text, sizes, memory and speed; train nothing, write no run.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a recipe key; may be repeated.")
@click.option("--seeds", type=ranged(Several), help="So many runs that differ in their seed: mean and deviation.")
@click.option("--folds", type=ranged(Several), help="Classifier: a run for each part of the training lines.")
@click.option("--compare-scratch", is_flag=True, help="Classifier: each run once more, without pretraining.")
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard events into the run.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(recipe: str, data: Path, out: Path | None, **options: Any) -> int:
    """Train a model by RECIPE: the name of a preset, or a TOML file.

    A folder for translation holds train.SRC and train.TGT, valid.* and test.*, plain or .gz; text for a language model,
    masked or not, is a file, .txt or .jsonl, or a folder with train, valid and test of such; labelled text the same in
    .tsv, .csv or .jsonl.

    \b
    clearhead train translate-tiny --data DIR --src en --tgt de
    clearhead train translate-small --data DIR --src zh --tgt en --budget 20m
    clearhead train gpt-char-cpu --data input.txt --set train.max_steps=2000
    clearhead train gpt-finetune --from RUN --data poems.txt
    clearhead train bert-mini --data DIR
    clearhead train classify --from RUN --data DIR --seeds 3 --compare-scratch
    """
    from clearhead.training.length.written import with_budget
    from clearhead.verbs.repeat import Repeats, Summary, train_several

    shortcuts = [f"{key}={options[key]!r}" for key in ("src", "tgt", "start") if options[key]]
    changes = [*options["overrides"], *shortcuts]
    if options["budget"] is not None:
        _check_steps(recipe, changes)
        changes = with_budget(changes, options["budget"])
    if options["dry_run"]:
        _check_dry(options)
        show_dry_run(recipe, data, changes, as_json=options["as_json"])
        return 0
    repeats = Repeats(options["seeds"] or 0, options["folds"] or 0, options["compare_scratch"])
    result: TrainResult | Summary
    if repeats:
        if options["allow"] or options["checkpoint"] != "latest" or options["tensorboard"]:
            raise UsageError("--checkpoint, --allow-change, --tensorboard: are for one run, not for several")
        result = train_several(
            recipe,
            data,
            out,
            changes,
            repeats=repeats,
            resume=options["resume"],
            # the next runs are as large as the first, in a process that has kept what it freed: one forecast is enough
            follow=lambda opened, first: follow(opened, forecast_of(opened.job) if first and is_first() else None),
            progress=show_encoding,
        )
    else:
        settings = {name: options[name] for name in ("resume", "checkpoint", "allow", "tensorboard")}
        result = train_and_show(recipe, data, out, changes, **settings)
    if isinstance(result, Summary):
        _show_several(result, as_json=options["as_json"])
        return 0
    if not is_first():
        return 0 if result.reason != "interrupted" else 128 + (result.signal or 2)
    _show(result, as_json=options["as_json"])
    if result.reason != "interrupted":
        return 0
    words = without_checkpoint(sys.argv[1:]) + ([] if out else ["--out", str(result.run)])
    say(f"clearhead: interrupted at step {result.step}; go on with: clearhead {shlex.join(words)} --resume")
    return 128 + (result.signal or 2)


def _check_steps(recipe: str, changes: Sequence[str]) -> None:
    """Refuses a budget for what is not trained by steps."""
    from clearhead.runs.recipes import read_recipe
    from clearhead.tasks.catalog import family_of_recipe
    from clearhead.tasks.family import LearnedFamily

    tree = read_recipe(recipe, changes)
    if not isinstance(family_of_recipe(tree, f"recipe {tree.get('name', recipe)!r}"), LearnedFamily):
        task = tree["task"]
        raise UsageError(f"--budget: the task {task!r} is not trained by steps, and takes the time that it takes")


def train_and_show(
    recipe: str,
    data: Path,
    out: Path | None,
    overrides: Sequence[str],
    *,
    resume: bool,
    checkpoint: str = "latest",
    allow: Sequence[str] = (),
    tensorboard: bool = False,
) -> "TrainResult":
    """Trains with the report and progress on stderr."""
    from clearhead.verbs.train import open_run

    with open_run(
        recipe,
        data,
        out,
        overrides=overrides,
        resume=resume,
        checkpoint=checkpoint,
        allow=allow,
        progress=show_encoding,
    ) as opened:
        memory = forecast_of(opened.job) if is_first() else None
        result = follow(opened, memory, tensorboard=tensorboard)
        return replace(result, memory=memory.memory) if memory else result


def follow(opened: "OpenedRun", memory: "Plan | None", *, tensorboard: bool = False) -> "TrainResult":
    """Trains a run that is open, with the report before the first step and progress on stderr."""
    from clearhead.training.writers import TensorBoardWriter, Writer
    from clearhead.verbs.progress import ProgressWriter
    from clearhead.verbs.train import train_run

    job, run = opened.job, opened.path
    writers: list[Writer] = []
    if is_first():
        report(job, memory)
        tell(f"run directory: {run}", err=True)
        writers.append(ProgressWriter(job.max_steps, job.targets))
    if tensorboard and is_first():
        step, evaluated = job.progress.step, job.progress.step == job.progress.evaluated_step
        metrics = run / "metrics.jsonl"
        writers.append(TensorBoardWriter(run / "tensorboard", from_step=step, evaluated=evaluated, metrics=metrics))
    return train_run(job, run, writers, opened.notes)


def forecast_of(job: "Job") -> "Plan | None":
    """Returns the forecast of a run that takes steps, before it has taken any."""
    from clearhead.training.job import GradientJob
    from clearhead.verbs.plan import forecast

    return forecast(job) if isinstance(job, GradientJob) else None


def report(job: "Job", memory: "Plan | None") -> None:
    """Says on stderr what was read and built, and what memory it will take."""
    lines = [*job.reports()["train"].lines(), job.headline(), *job.decided(), *job.warnings()]
    for line in lines + (memory.memory_lines() if memory else []):
        tell(line, err=True)


def show_dry_run(recipe: str, data: Path, overrides: Sequence[str], *, as_json: bool) -> None:
    """Reports on a run that is prepared and tried but not trained; of what has no steps, on recipe and text alone."""
    from clearhead.config import as_tree, write_toml
    from clearhead.runs.recipes import refusal_lines
    from clearhead.tasks.catalog import family_of
    from clearhead.training.job import GradientJob
    from clearhead.verbs.exports.targets import refusals
    from clearhead.verbs.trial import dry_run, lr_curve

    tried = dry_run(recipe, data, overrides, progress=show_encoding)
    job, trial, memory = tried.job, tried.trial, tried.memory
    if job is None:
        if as_json:
            print_json({"refused": tried.refused, **({"memory": memory.memory} if memory else {})})
        for line in [tried.refused, *(memory.lines() if memory else [])]:
            tell(line, err=True)
        return
    reasons = refusals(family_of(job.recipe.task), job.recipe)
    if as_json:
        measured = {"not_exported_to": reasons} | {
            **(asdict(trial) if trial else {}),
            **({"memory": memory.memory} if memory else {}),
        }
        print_json({"recipe": as_tree(job.recipe), "data": job.reports()["train"].as_dict(), **measured})
        return
    click.echo(write_toml(as_tree(job.recipe)))
    report(job, memory)
    for line in refusal_lines(reasons):
        tell(line, err=True)
    if not trial or not isinstance(job, GradientJob):
        tell("one pass over the text: there are no steps to try", err=True)
        return
    tell(f"learning rate over the run: {lr_curve(job, trial.sizing)}", err=True)
    for line in trial.lines():
        tell(line, err=True)


def show_encoding(done: int, total: int) -> None:
    """Says on stderr how much of a large text is encoded; a small one is done before anyone could read it."""
    if total > 200_000:
        tell(f"encoded {done / total:.0%} of the text", err=True)


def _check_dry(options: dict[str, Any]) -> None:
    """Refuses options that make no sense with --dry-run, as they are for a real run or for several runs."""
    names = ("resume", "allow", "seeds", "folds", "compare_scratch", "tensorboard")
    spelled = {"allow": "--allow-change", "compare_scratch": "--compare-scratch"}
    refused = [spelled.get(name, f"--{name}") for name in names if options[name]]
    if options["checkpoint"] != "latest":
        refused.append("--checkpoint")
    if refused:
        raise UsageError(f"--dry-run: takes a few steps and writes no run; leave out {', '.join(refused)}")


def without_checkpoint(words: list[str]) -> list[str]:
    """Leaves out --resume, and --checkpoint with its value: the run goes on from its latest."""
    kept = [word for word in words if word != "--resume" and not word.startswith("--checkpoint=")]
    if "--checkpoint" in kept:
        at = kept.index("--checkpoint")
        del kept[at : at + 2]
    return kept


def _show(result: "TrainResult", *, as_json: bool) -> None:
    if as_json:
        tree = {"run": str(result.run), "step": result.step, "reason": result.reason, "scores": result.scores}
        print_json({**tree, "memory": result.memory})
    else:
        say(str(result.run), err=False)


def _show_several(summary: "Summary", *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(summary), "folder": str(summary.folder)})
        return
    for line in summary.lines():
        tell(line)
    click.echo(str(summary.folder))
