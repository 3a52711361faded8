"""From a recipe to a run directory: what ``clearhead train`` and ``clearhead.train`` do."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from torch import nn

from clearhead.config import Tree, as_tree, merge
from clearhead.errors import DataError, UsageError
from clearhead.models.transformer import Transformer
from clearhead.tasks.card import model_card
from clearhead.tasks.machine import pick_device
from clearhead.tasks.run import check_free, create_run, load_recipe, new_run, read_recipe, write_text
from clearhead.tasks.scoring import greedy_bleu
from clearhead.tasks.translation import (
    Prepared,
    Tokenizers,
    parse_recipe,
    prepare_run,
    save_prepared,
    work_of,
)
from clearhead.train.events import Event, Finished
from clearhead.train.loop import train_loop
from clearhead.train.memory import keep_freed_memory
from clearhead.train.state import find_checkpoint
from clearhead.train.writers import JsonLinesWriter, Writer, draw_curves

RESUMABLE = ("max_steps", "max_minutes", "evaluate_every", "checkpoint_every", "keep_last", "device")


@dataclass(frozen=True)
class TrainResult:
    """How a training run ended."""

    run: Path
    step: int
    reason: str
    scores: dict[str, float]
    signal: int | None = None
    """The signal that interrupted it, if one did."""


def prepare_new(tree: Tree, folder: Path, *, progress: Callable[[int, int], None], source: str) -> Prepared:
    """Everything before the first step of a new run; writes no run directory."""
    recipe = parse_recipe(tree, source)
    keep_freed_memory()
    return prepare_run(recipe, folder, pick_device(recipe.train.device), progress=progress)


def prepare_resumed(run: Path, tree: Tree, folder: Path, *, progress: Callable[[int, int], None]) -> Prepared:
    """Everything before the next step of a run that exists.

    Raises:
        UsageError: the recipe differs from the run's in a key that a resumed run cannot change.
    """
    kept = as_tree(parse_recipe(load_recipe(run), f"recipe of run {str(run)!r}"))
    wanted = as_tree(parse_recipe(merge(kept, tree), f"recipe of run {str(run)!r}"))
    differing = [key for key in _differences(kept, wanted) if key not in [f"train.{name}" for name in RESUMABLE]]
    if differing:
        allowed = ", ".join(f"train.{name}" for name in RESUMABLE)
        raise UsageError(f"--resume: {', '.join(differing)} differs from the run's recipe; only {allowed} may")
    keep_freed_memory()
    recipe = parse_recipe(wanted, f"recipe of run {str(run)!r}")
    device, tokenizers = pick_device(recipe.train.device), Tokenizers.load(run)
    prepared = prepare_run(recipe, folder, device, tokenizers=tokenizers, progress=progress)
    checkpoint = find_checkpoint(run, "latest")
    if checkpoint is not None:
        prepared.state.restore(checkpoint)
    return prepared


def train_run(prepared: Prepared, run: Path, writers: Iterable[Writer] = ()) -> TrainResult:
    """Trains what was prepared into the directory ``run``; SIGINT and SIGTERM end it after the step, with a checkpoint.

    Args:
        prepared: from ``prepare_new`` or ``prepare_resumed``.
        run: gets recipe, tokenizers, checkpoints, metrics, curves and a model card.
        writers: take every event; they are closed at the end.
    """
    recipe, state = prepared.recipe, prepared.state
    save_prepared(prepared, run)
    taken: list[Writer] = [JsonLinesWriter(run / "metrics.jsonl", from_step=state.step), *writers]

    def bleu(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Transformer)
        return greedy_bleu(prepared, model) if recipe.validation.monitor == "bleu" else {}

    with _stop_on_signals() as caught:
        events = train_loop(
            state,
            work_of(prepared, bleu),
            run,
            recipe.train,
            optim=recipe.optim,
            validation=recipe.validation,
            should_stop=lambda: bool(caught),
        )
        reason = _consume(events, taken)
    try:
        draw_curves(run / "metrics.jsonl", run / "loss.png")
    except OSError as error:
        raise DataError(f"curves of run {str(run)!r} cannot be written: {error.strerror}") from error
    write_text(run / "README.md", model_card(prepared, run))
    return TrainResult(run, state.step, reason, state.scores, caught[0] if caught else None)


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
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Prepared, Path]:
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
    prepared = prepare_new(tree, folder, progress=progress, source=f"recipe {str(recipe)!r}")
    if started and out is not None:  # it ended before its first checkpoint: there is nothing to lose
        return prepared, out
    return prepared, create_run(out) if out is not None else new_run(prepared.recipe.name)


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
    prepared, run = begin(recipe, Path(data), where, overrides=overrides, resume=resume)
    return train_run(prepared, run, writers)


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
