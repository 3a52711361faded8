"""From a recipe to a run directory: what ``clearhead train`` and ``clearhead.train`` do."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from clearhead.config import Tree, merge
from clearhead.errors import DataError, UsageError
from clearhead.tasks.catalog import prepare_job, resolve
from clearhead.tasks.job import GradientJob, Job, Progress
from clearhead.tasks.run import check_free, create_run, load_recipe, new_run, read_recipe, write_text
from clearhead.train.events import Event, Finished
from clearhead.train.memory import keep_freed_memory
from clearhead.train.state import find_checkpoint
from clearhead.train.writers import JsonLinesWriter, Writer, draw_curves

RESUMABLE = (
    *(f"train.{name}" for name in ("max_steps", "max_minutes", "evaluate_every", "checkpoint_every", "keep_last")),
    "train.device",
    "finetune.epochs",
)


@dataclass(frozen=True)
class TrainResult:
    """How a training run ended."""

    run: Path
    step: int
    reason: str
    scores: dict[str, float]
    signal: int | None = None
    """The signal that interrupted it, if one did."""


def prepare_new(tree: Tree, folder: Path, *, progress: Progress = lambda done, total: None, source: str) -> Job:
    """Everything before the first step of a new run; writes no run directory."""
    keep_freed_memory()
    return prepare_job(tree, source, folder, progress=progress)


def prepare_resumed(run: Path, tree: Tree, folder: Path, *, progress: Progress) -> Job:
    """Everything before the next step of a run that exists.

    Raises:
        UsageError: the recipe differs from the run's in a key that a resumed run cannot change.
    """
    source = f"recipe of run {str(run)!r}"
    kept = resolve(load_recipe(run), source)
    wanted = resolve(merge(kept, _decided(tree) if kept.get("start") else tree), source)
    differing = [key for key in _differences(kept, wanted) if key not in RESUMABLE]
    if differing:
        allowed = ", ".join(RESUMABLE)
        raise UsageError(f"--resume: {', '.join(differing)} differs from the run's recipe; only {allowed} may")
    keep_freed_memory()
    job = prepare_job(wanted, source, folder, run=run, progress=progress)
    checkpoint = find_checkpoint(run, "latest")
    if checkpoint is not None and isinstance(job, GradientJob):
        job.state.restore(checkpoint)
    return job


def train_run(job: Job, run: Path, writers: Iterable[Writer] = ()) -> TrainResult:
    """Trains what was prepared into the directory ``run``; SIGINT and SIGTERM end it after the step, with a checkpoint.

    Args:
        job: from ``prepare_new`` or ``prepare_resumed``.
        run: gets recipe, tokenizers, checkpoints, metrics, curves and a model card.
        writers: take every event; they are closed at the end.
    """
    job.save(run)
    taken: list[Writer] = [JsonLinesWriter(run / "metrics.jsonl", from_step=job.progress.step), *writers]
    with _stop_on_signals() as caught:
        reason = _consume(job.fit(run, lambda: bool(caught)), taken)
    try:
        draw_curves(run / "metrics.jsonl", run / "loss.png")
    except OSError as error:
        raise DataError(f"curves of run {str(run)!r} cannot be written: {error.strerror}") from error
    write_text(run / "README.md", job.card(run))
    return TrainResult(run, job.progress.step, reason, job.progress.scores, caught[0] if caught else None)


def _consume(events: Iterator[Event], writers: list[Writer]) -> str:
    """Gives every event to every writer; returns why the loop ended."""
    reason = ""
    try:
        for event in events:
            reason = event.reason if isinstance(event, Finished) else reason
            for writer in writers:
                writer.write(event)
    except OSError as error:
        raise DataError(f"metrics of the run cannot be written: {error.strerror}") from error
    finally:
        for writer in writers:
            writer.close()
    return reason


def begin(
    recipe: str | Path,
    folder: Path,
    out: Path | None = None,
    *,
    overrides: Iterable[str] = (),
    resume: bool = False,
    progress: Progress = lambda done, total: None,
) -> tuple[Job, Path]:
    """Prepares a new run, or the one in ``out`` to go on, and makes its directory once nothing can fail any more.

    Raises:
        ClearheadError: recipe, text, run directory or device cannot be used.
    """
    tree = read_recipe(recipe, overrides)
    if resume and out is None:
        raise UsageError("--resume: name the run with --out RUN")
    started = resume and out is not None and (out / "recipe.toml").exists()
    if started and out is not None and find_checkpoint(out, "latest") is not None:
        return prepare_resumed(out, tree, folder, progress=progress), out
    if out is not None and not started:
        check_free(out)
    job = prepare_new(tree, folder, progress=progress, source=f"recipe {str(recipe)!r}")
    if started and out is not None:  # it ended before its first checkpoint: there is nothing to lose
        return job, out
    return job, create_run(out) if out is not None else new_run(job.recipe.name)


def train(
    recipe: str | Path,
    *,
    data: str | Path,
    out: str | Path | None = None,
    resume: bool = False,
    overrides: Iterable[str] = (),
    writers: Iterable[Writer] = (),
) -> TrainResult:
    """Trains a model from raw text; what ``clearhead train`` does, without a screen.

    Args:
        recipe: a preset's name or a TOML file.
        data: folder with the text files of the recipe.
        out: run directory; None is the next free ``runs/NAME-NNN``.
        resume: go on with the run in ``out``, or start it if it has no checkpoint yet.
        overrides: ``key=value`` strings over the recipe, such as ``src=zh``.
        writers: consumers of the training events.

    Raises:
        ClearheadError: recipe, text, run directory or device cannot be used.
    """
    where = Path(out) if out is not None else None
    job, run = begin(recipe, Path(data), where, overrides=overrides, resume=resume)
    return train_run(job, run, writers)


def _decided(tree: Tree) -> Tree:
    """What a recipe decides where training starts from a trained model: sizes and tokenizer are that one's."""
    rates = {key: value for key, value in tree.get("model", {}).items() if key.endswith("dropout")}
    return {key: value for key, value in tree.items() if key not in ("model", "tokenizer")} | {"model": rates}


def _differences(old: Tree, new: Tree, prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in new:
        before, after = old.get(key), new[key]
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{prefix}{key}.")
        elif before != after and prefix + key not in ("name", "about"):
            found.append(prefix + key)
    return found


@contextmanager
def _stop_on_signals() -> Iterator[list[int]]:
    """Collects the first SIGINT or SIGTERM; a second one acts as usual."""
    caught: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, before[signal.Signals(number)])

    try:
        for number in before:
            signal.signal(number, note)
    except ValueError:
        pass  # not the main thread: signals are somebody else's
    try:
        yield caught
    finally:
        if signal.getsignal(signal.SIGINT) is note or signal.getsignal(signal.SIGTERM) is note:
            for number, handler in before.items():
                signal.signal(number, handler)
