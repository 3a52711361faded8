"""Trained runs side by side: the same split, the same scores, sizes and speeds."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clearhead.errors import UsageError
from clearhead.evaluate.paired import Difference
from clearhead.evaluate.paired import compared as compared_scores
from clearhead.runs.opened import SavedRun
from clearhead.tasks.catalog import AnyFamily, family_of_run
from clearhead.tasks.expanded import open_run
from clearhead.tasks.family import ComparedScores, EvaluationOptions
from clearhead.text.language import BleuTokenize
from clearhead.training.writers import read_metrics
from clearhead.verbs.evaluate import suggesting_valid


@dataclass(frozen=True)
class ComparedRun:
    """One run in numbers; None is what it does not have."""

    run: str
    model: str
    parameters: int
    """Of an n-gram model the n-grams stored."""
    scores: dict[str, float | None]
    """By name, in the order to show."""
    train_tokens_per_second: float | None
    """Median over the steps of the run, or of its one pass."""
    decode_tokens_per_second: float | None
    """Target pieces of the split a second; of a language model, pieces of one text, drawn one by one; None of a model
    that writes no text."""
    against_first: dict[str, Difference] = field(default_factory=dict)
    """By how much it scores higher than the first run, by the name of the score; empty for that run itself, and where
    scores are not made of lines."""


@dataclass(frozen=True)
class Comparison:
    """Runs with one goal on one split."""

    split: str
    note: str
    """What a reader should know about the scores."""
    runs: list[ComparedRun]


def compare_runs(
    runs: Sequence[Path],
    data: Path,
    split: str,
    *,
    beam: int = 5,
    tokenize: BleuTokenize | None = None,
    device: str = "auto",
) -> Comparison:
    """Scores runs on the same split.

    Args:
        runs: run directories, all with the same goal: translation between the same languages, language modelling,
            masked language modelling, or classification.
        data: as for ``evaluate``.
        split: likewise.
        beam: of translators.
        tokenize: sacreBLEU's tokenizer for translators; None takes that of their recipes.
        device: see ``pick_device``.

    Raises:
        UsageError: the runs have different goals, or scores that are measured differently.
        ClearheadError: a run or the text cannot be used.
    """
    opened = [open_run(run) for run in runs]
    families = [family_of_run(run) for run in opened]
    recipes = [family.parse(run.tree, run.source) for family, run in zip(families, opened, strict=True)]
    goals = [family.goal(recipe) for family, recipe in zip(families, recipes, strict=True)]
    for run, goal in zip(opened, goals, strict=True):
        if goal != goals[0]:
            raise UsageError(
                f"run {str(opened[0].path)!r} is for {goals[0]}, run {str(run.path)!r} for {goal}: "
                "there is nothing to compare them by"
            )
    options = EvaluationOptions(beam=beam, tokenize=tokenize)
    measures = [family.measured_by(recipe, options) for family, recipe in zip(families, recipes, strict=True)]
    for run, measure in zip(opened, measures, strict=True):
        if measure != measures[0]:
            raise UsageError(
                f"run {str(opened[0].path)!r} is scored with {measures[0]}, run {str(run.path)!r} with {measure}: "
                "choose one for all with --tokenize"
            )
    compared: list[ComparedRun] = []
    first: ComparedScores | None = None
    for name, family, run in zip(runs, families, opened, strict=True):
        described, scored = _compared(family, run, data, split, options, device)
        differences = {} if first is None else _differences(first, scored)
        compared.append(replace(described, run=str(name), against_first=differences))
        first = first or scored
    note = "; ".join(filter(None, (families[0].compare_note, measures[0])))
    return Comparison(split, note, compared)


def _compared(
    family: AnyFamily, run: SavedRun, data: Path, split: str, options: EvaluationOptions, device: str
) -> tuple[ComparedRun, ComparedScores]:
    trained = family.load(run, device=device)
    with suggesting_valid(split):
        compared = family.compared(trained, data, split, options)
    described = ComparedRun(
        run=str(run.path),
        model=family.sizes(trained.recipe),
        parameters=family.parameters(trained),
        scores=compared.scores,
        train_tokens_per_second=_trained_per_second(run.path),
        decode_tokens_per_second=compared.decoded_per_second,
    )
    return described, compared


def _differences(first: ComparedScores, other: ComparedScores) -> dict[str, Difference]:
    """Returns by how much each score that is made of lines is above that of the first run."""
    both = {name: (first.counts[name], other.counts[name]) for name in first.counts if name in other.counts}
    return {
        name: compared_scores(metric, counts, its_counts)
        for name, ((metric, counts), (its_metric, its_counts)) in both.items()
        if metric.is_like(its_metric)
    }


def _trained_per_second(run: Path) -> float | None:
    """Tokens a second in training, None for a run without metrics."""
    path = run / "metrics.jsonl"
    records: Iterable[dict[str, float]] = read_metrics(path) if path.is_file() else []
    rates = [record["tokens"] / record["seconds"] for record in records if record.get("tokens") and record["seconds"]]
    return statistics.median(rates) if rates else None
