"""Trains a recipe several times, with other seeds, on other folds or without pretraining, and compares scores."""

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from clearhead.config import Tree, parse, table
from clearhead.errors import ModelError, UsageError
from clearhead.progress import Progress, silent
from clearhead.runs.directory import check_free, create_run, new_run, runs_in, save_json
from clearhead.runs.recipes import RECIPE, load_recipe, read_recipe
from clearhead.tasks.catalog import family_of_recipe
from clearhead.tasks.warm_start import start_of
from clearhead.training.config import TrainConfig
from clearhead.training.writers import read_metrics
from clearhead.verbs.train import OpenedRun, TrainResult, open_run

Scores = Mapping[str, float]
TrainOne = Callable[[Path, list[str]], TrainResult]
"""(run directory, overrides of the recipe): trains this run, or resumes it if the directory exists."""
SCRATCH = "scratch-"


@dataclass(frozen=True)
class _Settings:
    """What of a recipe is known before the model is opened that it starts from."""

    train: TrainConfig = field(default_factory=TrainConfig)
    """Which has the seed."""


@dataclass(frozen=True)
class Repeats:
    """Which runs are trained instead of a single one."""

    seeds: int = 0
    """How many runs that differ in ``train.seed`` only, counted up from the recipe's; 0 is one run."""
    folds: int = 0
    """Into how many parts the training lines are cut: each run is validated on another one; 0 uses the valid split."""
    compare_scratch: bool = False
    """Train each run twice: from the pretrained encoder, and from random weights."""

    def __bool__(self) -> bool:
        return bool(self.seeds or self.folds or self.compare_scratch)

    def members(self, tree: Tree) -> dict[str, list[str]]:
        """Returns the overrides of the recipe for each run, by the name of its directory.

        Raises:
            UsageError: the recipe is wrong, its task has no such runs, or no pretrained encoder to compare with.
        """
        family, source = family_of_recipe(tree, "recipe"), f"recipe {tree.get('name', '')!r}"
        task = tree.get("task", "translation")
        if (self.folds or self.compare_scratch) and not family.foldable:
            raise UsageError(f"--folds, --compare-scratch: are for the task classify, not {task!r}")
        if not family.seeded:
            raise UsageError(f"--seeds: the task {task!r} draws no random numbers, all runs would be the same")
        if self.compare_scratch and not tree.get("start"):
            raise UsageError("--compare-scratch: there is nothing to compare with; name a trained encoder with --from")
        if start_of(tree):  # the rest is checked with the model that each run opens: languages and sizes may be its own
            settings = {key: value for key, value in tree.items() if key == "train"}
            seed: int = parse(_Settings, settings, source=source).train.seed
        else:
            seed = family.parse(tree, source).train.seed
        changes_by_run: dict[str, list[str]] = {}
        variants = ("", SCRATCH) if self.compare_scratch else ("",)
        for variant, fold, number in itertools.product(variants, range(self.folds or 1), range(self.seeds or 1)):
            name = f"{variant}fold-{fold}-seed-{seed + number}" if self.folds else f"{variant}seed-{seed + number}"
            changes = [f"train.seed={seed + number}"]
            if self.folds:
                changes += [f"data.folds={self.folds}", f"data.fold={fold}"]
            if variant:
                changes.append("finetune.fresh=true")
            changes_by_run[name] = changes
        return changes_by_run


@dataclass(frozen=True)
class Spread:
    """Mean and deviation of a score over several runs."""

    mean: float
    deviation: float | None
    """Sample standard deviation (n - 1); None for a single run."""

    def text(self, sign: str = "") -> str:
        """Returns mean and deviation as text; ``sign`` is a format flag such as ``+``."""
        return f"{self.mean:{sign}.4f}" + ("" if self.deviation is None else f" ± {self.deviation:.4f}")


@dataclass(frozen=True)
class Summary:
    """The scores of several runs."""

    folder: Path
    runs: dict[str, dict[str, float]]
    """Scores of the best checkpoint of each run, by the run's name."""
    scores: dict[str, Spread]
    last: dict[str, Spread]
    """The same at the last evaluation of each run, which was not chosen for its scores."""
    scratch: dict[str, Spread]
    """Those of the best checkpoints of the runs without pretraining."""
    gain: dict[str, Spread]
    """The score of each run less that of its twin without pretraining."""

    def lines(self) -> list[str]:
        """Returns the summary as lines of text."""
        count = len(self.runs) // (2 if self.scratch else 1)
        lines = [f"{name}: {_text(scores)}" for name, scores in self.runs.items()]
        lines += [f"{count} runs: {_text(self.scores)}"]
        if self.last != self.scores:
            lines += [f"{count} runs at their last evaluation: {_text(self.last)}"]
        if self.scratch:
            lines += [f"{count} runs from scratch: {_text(self.scratch)}", f"gain: {_text(self.gain, '+')}"]
        return lines


def train_several(
    recipe: str,
    data: Path,
    out: Path | None,
    overrides: Sequence[str],
    *,
    repeats: Repeats,
    resume: bool,
    follow: Callable[[OpenedRun, bool], TrainResult],
    progress: Progress = silent,
) -> "Summary | TrainResult":
    """Trains the runs that ``repeats`` describes.

    Args:
        recipe: a preset's name or a TOML file.
        data: the text.
        out: folder that holds the runs; None creates the next free ``runs/NAME-NNN``.
        overrides: ``key=value`` strings over the recipe.
        repeats: which runs.
        resume: resume the runs in ``out``.
        follow: (open run, whether it is the first one): trains it.
        progress: called with how much of the text is encoded.

    Raises:
        ClearheadError: recipe, text, directory or device cannot be used.
    """
    tree = read_recipe(recipe, overrides)
    if resume and out and not start_of(tree) and (start := _start_in(out)):
        overrides = [*overrides, f"start={start!r}"]
        tree = read_recipe(recipe, overrides)
    members = repeats.members(tree)
    folder = open_folder(tree["name"], out, resume=resume)
    names = list(members)

    def train_member(run: Path, changes: Sequence[str]) -> TrainResult:
        changed = [*overrides, *changes, *_precision_of(folder / names[0])]
        with open_run(recipe, data, run, overrides=changed, resume=True, progress=progress) as opened:
            return follow(opened, run.name == names[0])

    return repeat(folder, members, train_member)


def _start_in(folder: Path) -> str:
    """Returns the ``start`` of the runs in a folder, so that it need not be given again; "" for none."""
    begun = [folder / name for name in runs_in(folder) if (folder / name / RECIPE).exists()]
    return start_of(load_recipe(begun[0])) if begun else ""


def _precision_of(first: Path) -> list[str]:
    """Returns the precision of the first run as an override, for those after it, whatever was measured for that."""
    precision = table(load_recipe(first), "train").get("precision") if (first / RECIPE).exists() else None
    return [] if precision is None else [f"train.precision={precision}"]


def open_folder(name: str, out: Path | None, *, resume: bool) -> Path:
    """Returns the directory that will hold the runs, and creates it if necessary.

    Raises:
        UsageError: it has other files in it, or is itself a run.
    """
    if out is None:
        if resume:
            raise UsageError("--resume: name the run with --out RUN")
        return new_run(name)
    if not resume:
        check_free(out)
    elif (out / "recipe.toml").exists():
        raise UsageError(f"--resume: {str(out)!r} is one run, not a folder of several")
    return out if resume and out.is_dir() else create_run(out)


def repeat(folder: Path, members: Mapping[str, Sequence[str]], train_one: TrainOne) -> Summary | TrainResult:
    """Trains every run in a directory of its own and writes ``summary.json``.

    A run that is complete takes no further step, so that after an interruption the same call resumes.

    Returns:
        The summary; or, if a run was interrupted, the result of that run.
    """
    scores_by_run: dict[str, dict[str, float]] = {}
    last_by_run: dict[str, dict[str, float]] = {}
    for name, changes in members.items():
        result = train_one(folder / name, list(changes))
        if result.reason == "interrupted":
            return replace(result, run=folder)
        scores_by_run[name], last_by_run[name] = best_and_last(folder / name)
    summary = summarize(folder, scores_by_run, last_by_run)
    save_json(folder / "summary.json", {**asdict(summary), "folder": str(folder)})
    return summary


def best_and_last(run: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the scores of the best checkpoint and of the last evaluation, from ``metrics.jsonl``.

    Raises:
        ModelError: it has none.
    """
    records = read_metrics(run / "metrics.jsonl")
    evaluations = [record for record in records if record["event"] == "evaluated"]
    chosen = [record["scores"] for record in evaluations if record["best"]]
    if not chosen:
        raise ModelError(f"run {str(run)!r} has no evaluation in metrics.jsonl")
    return dict(chosen[-1]), dict(evaluations[-1]["scores"])


def summarize(folder: Path, runs: dict[str, dict[str, float]], last: Mapping[str, Scores]) -> Summary:
    """Returns mean and deviation of each score, and of the gain run by run.

    Args:
        folder: that holds the runs.
        runs: scores of the best checkpoint of each.
        last: likewise of its last evaluation.
    """
    tuned = {name: scores for name, scores in runs.items() if not name.startswith(SCRATCH)}
    scratch = [scores for name, scores in runs.items() if name.startswith(SCRATCH)]
    gains = [
        {name: value - other[name] for name, value in scores.items()}
        for scores, other in zip(tuned.values(), scratch, strict=bool(scratch))
    ]
    at_last = _spreads([last[name] for name in tuned])
    return Summary(folder, runs, _spreads([*tuned.values()]), at_last, _spreads(scratch), _spreads(gains))


def _spreads(scores: Sequence[Scores]) -> dict[str, Spread]:
    values_by_score = {name: [run_scores[name] for run_scores in scores] for name in (scores[0] if scores else ())}
    return {
        name: Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
        for name, values in values_by_score.items()
    }


def _text(scores: Mapping[str, Spread] | Scores, sign: str = "") -> str:
    parts = {name: value if isinstance(value, Spread) else Spread(value, None) for name, value in scores.items()}
    return ", ".join(f"{name} {value.text(sign)}" for name, value in parts.items())
