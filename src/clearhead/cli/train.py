"""``clearhead train``: from a recipe and a folder of text to a run directory."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clearhead.cli.options import is_first, print_json
from clearhead.errors import UsageError

if TYPE_CHECKING:
    from clearhead.verbs.repeat import Summary
    from clearhead.verbs.train import TrainResult


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
@click.option("--dry-run", is_flag=True, help="Report on text, sizes, memory and speed; train nothing, write no run.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a recipe key; may be repeated.")
@click.option("--seeds", type=click.IntRange(2), help="Classifier: so many runs of other seeds, mean and deviation.")
@click.option("--folds", type=click.IntRange(2), help="Classifier: a run for each part of the training lines.")
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
    clearhead train translate-small --data DIR --src zh --tgt en --set train.max_steps=2000
    clearhead train gpt-char-cpu --data input.txt
    clearhead train gpt-finetune --from RUN --data poems.txt
    clearhead train bert-mini --data DIR
    clearhead train classify --from RUN --data DIR --seeds 3 --compare-scratch
    """
    from clearhead.cli import training
    from clearhead.verbs.repeat import Repeats, Summary

    named = [f"{key}={options[key]!r}" for key in ("src", "tgt", "start") if options[key]]
    changes = [*options["overrides"], *named]
    if options["dry_run"]:
        _check_dry(options)
        return training.dry_run(recipe, data, changes, as_json=options["as_json"])
    repeats = Repeats(options["seeds"] or 0, options["folds"] or 0, options["compare_scratch"])
    found: TrainResult | Summary
    if repeats:
        if options["allow"] or options["checkpoint"] != "latest" or options["tensorboard"]:
            raise UsageError("--checkpoint, --allow-change, --tensorboard: are for one run, not for several")
        found = training.train_several(recipe, data, out, changes, repeats=repeats, resume=options["resume"])
    else:
        named_alike = {name: options[name] for name in ("resume", "checkpoint", "allow", "tensorboard")}
        found = training.train(recipe, data, out, changes, **named_alike)
    if isinstance(found, Summary):
        _show_several(found, as_json=options["as_json"])
        return 0
    if not is_first():
        return 0 if found.reason != "interrupted" else 128 + (found.signal or 2)
    _show(found, as_json=options["as_json"])
    if found.reason != "interrupted":
        return 0
    words = without_checkpoint(sys.argv[1:]) + ([] if out else ["--out", str(found.run)])
    click.echo(
        f"clearhead: interrupted at step {found.step}; go on with: clearhead {shlex.join(words)} --resume", err=True
    )
    return 128 + (found.signal or 2)


def _check_dry(options: dict[str, Any]) -> None:
    """Refuses beside --dry-run what asks for a run, or for several."""
    names = ("resume", "allow", "seeds", "folds", "compare_scratch", "tensorboard")
    spelled = {"allow": "--allow-change", "compare_scratch": "--compare-scratch"}
    given = [spelled.get(name, f"--{name}") for name in names if options[name]]
    given += ["--checkpoint"] if options["checkpoint"] != "latest" else []
    if given:
        raise UsageError(f"--dry-run: takes a few steps and writes no run; leave out {', '.join(given)}")


def without_checkpoint(words: list[str]) -> list[str]:
    """Leaves out --resume, and --checkpoint with its value: the run goes on from its latest."""
    found = [word for word in words if word != "--resume" and not word.startswith("--checkpoint=")]
    if "--checkpoint" in found:
        at = found.index("--checkpoint")
        del found[at : at + 2]
    return found


def _show(result: "TrainResult", *, as_json: bool) -> None:
    if as_json:
        tree = {"run": str(result.run), "step": result.step, "reason": result.reason, "scores": result.scores}
        print_json({**tree, "memory": result.memory})
    else:
        click.echo(str(result.run))


def _show_several(found: "Summary", *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(found), "folder": str(found.folder)})
        return
    for line in [*found.lines(), str(found.folder)]:
        click.echo(line)
