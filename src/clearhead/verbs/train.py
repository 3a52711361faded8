"""Trains a recipe into a run directory, new or resumed, for ``clearhead train`` and ``clearhead.train``."""

import contextlib
import itertools
import json
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from clearhead.arguments import checked
from clearhead.brief import Brief
from clearhead.checkpoint import tidy, verify_checkpoint
from clearhead.config import Tree, differences, merge, table
from clearhead.errors import DataError, UsageError
from clearhead.log import LOG
from clearhead.progress import Progress, silent
from clearhead.runs.directory import check_free, create_run, new_run, write_text
from clearhead.runs.lock import locked
from clearhead.runs.pointers import find_checkpoint
from clearhead.runs.recipes import load_recipe, read_recipe
from clearhead.tasks.catalog import family_of_recipe, prepare_job, resolve
from clearhead.tasks.own import OwnModelConfig, given
from clearhead.training.config import MachineConfig
from clearhead.training.device import keep_few_products, keep_freed_memory
from clearhead.training.distributed import Ranks, joined, ranks
from clearhead.training.events import Begun, Event, Finished, Noted
from clearhead.training.job import GradientJob, Job
from clearhead.training.saving import finish_writing
from clearhead.training.writers import JsonLinesWriter, Writer, draw_curves, history_notes
from clearhead.verbs.progress import LogWriter, ProgressWriter
from clearhead.verbs.resumed import (
    changed_keys,
    check_same_text,
    precision_note,
    rate_note,
    with_paths_of,
    with_precision_of,
)
from clearhead.verbs.signals import stop_on_signals

RESUMABLE = (
    *(f"train.{name}" for name in ("max_steps", "max_minutes", "evaluate_every", "checkpoint_every", "keep_last")),
    "train.device",
    "validation.samples",
    "finetune.epochs",
)


@dataclass(frozen=True)
class TrainResult(Brief):
    """How a training run ended."""

    run: Path
    step: int
    reason: str
    scores: dict[str, float]
    signal: int | None = None
    """Number of the signal that interrupted it; None if none did."""
    notes: tuple[str, ...] = ()
    """Lines on what differs from the run before it was resumed."""
    memory: dict[str, int] = field(default_factory=dict)
    """The forecast of ``clearhead train``: bytes by what they are needed for."""


@dataclass(frozen=True)
class OpenedRun:
    """A run that is ready to train and locked against other processes."""

    job: Job
    path: Path
    notes: tuple[str, ...] = ()
    """Lines for the user: keys that differ, another number of threads, a lock that was left behind."""


@dataclass
class _Prepared:
    """A job and its run, before the checkpoint is loaded."""

    job: Job
    path: Path
    notes: list[str]
    checkpoint: Path | None = None
    """The verified checkpoint to resume from; None starts at step 0."""
    before: Tree | None = None
    """The recipe that the run had until now."""


def prepare_new(tree: Tree, folder: Path, *, progress: Progress = silent, source: str) -> Job:
    """Reads the text and builds the model of a new run; writes no run directory."""
    keep_freed_memory()
    keep_few_products()
    job = prepare_job(tree, source, folder, progress=progress)
    return job.with_precision() if isinstance(job, GradientJob) else job


def prepare_resumed(
    run: Path, tree: Tree, folder: Path, *, progress: Progress, checkpoint: str = "latest", allow: Sequence[str] = ()
) -> tuple[Job, list[str], Path | None]:
    """Reads the text and builds the model of a run that is resumed; does not load its checkpoint yet.

    Args:
        run: the run directory.
        tree: the recipe, or the part of it that differs from the run's.
        folder: the text.
        progress: see ``Job``.
        checkpoint: latest, best or a name.
        allow: keys that may differ besides ``RESUMABLE``; ``data`` allows other text.

    Returns:
        The job, lines on what differs, and the verified checkpoint to resume from.

    Raises:
        UsageError: the recipe differs from the run's in a key that a resumed run cannot change.
        DataError: the text is not that of the run.
        ModelError: the checkpoint is damaged; the message names the file and the checkpoint before it.
    """
    source = f"recipe of run {str(run)!r}"
    kept = with_precision_of({}, resolve(load_recipe(run), source))
    wanted = with_precision_of(kept, with_paths_of(kept, resolve(merge(kept, tree), source)))
    differing = differences(kept, wanted)
    if refused := [key for key in differing if key not in (*RESUMABLE, *allow)]:
        allowed = ", ".join(RESUMABLE)
        raise UsageError(
            f"--resume: {', '.join(refused)} differs from the run's recipe; only {allowed} may, "
            "others where --allow-change names them"
        )
    notes = changed_keys(differing)
    path = find_checkpoint(run, checkpoint)
    if path is not None:
        verify_checkpoint(path)
    keep_freed_memory()
    keep_few_products()
    # the tokenizers of the checkpoint, which has been verified; checkpoints of the first format have none
    place = path if path is not None and (path / "tokenizer").is_dir() else run
    job = prepare_job(wanted, source, folder, run=place, progress=progress)
    if "data" not in allow:
        check_same_text(job, run, folder)
    return job, notes, path


def train_run(job: Job, run: Path, writers: Iterable[Writer] = (), notes: Sequence[str] = ()) -> TrainResult:
    """Trains what was prepared into the directory ``run``; a signal ends it after the step, with a checkpoint.

    The signals are SIGINT, SIGTERM and SIGHUP, see ``stop_on_signals``. A writer that raises KeyboardInterrupt ends
    the run in the same way, in any thread.

    Args:
        job: from ``prepare_new`` or ``prepare_resumed``.
        run: gets recipe, tokenizers, checkpoints, metrics, curves and a model card.
        writers: receive every event; they are closed at the end.
        notes: lines that the writers receive first.
    """
    first = ranks().rank == 0  # only this process writes files
    if first:
        job.save(run)
    try:
        notes = [*notes, *(history_notes(run / "metrics.jsonl", job.progress.step) if first else [])]
    except OSError as error:
        raise DataError(f"metrics of the run cannot be read: {error.strerror}") from error
    begun = Begun(job.progress.step, job.max_steps, job.targets)
    told: list[Event] = [begun, *(Noted(job.progress.step, line) for line in notes)]
    with stop_on_signals() as caught:
        events = itertools.chain(told, job.fit(run, lambda: bool(caught)))
        reason = _consume(events, job, run / "metrics.jsonl" if first else None, list(writers), caught)
    if first:
        try:
            draw_curves(run / "metrics.jsonl", run / "loss.png")
        except OSError as error:
            raise DataError(f"curves of run {str(run)!r} cannot be written: {error.strerror}") from error
        write_text(run / "README.md", job.card(run))
    return TrainResult(run, job.progress.step, reason, job.progress.scores, caught[0] if caught else None, tuple(notes))


def _consume(events: Iterator[Event], job: Job, metrics: Path | None, writers: list[Writer], caught: list[int]) -> str:
    """Gives every event to every writer; returns why the loop ended."""
    reason, step, evaluated = "", job.progress.step, job.progress.evaluated_step
    try:
        writers = (
            [JsonLinesWriter(metrics, from_step=step, evaluated=evaluated == step), *writers] if metrics else writers
        )
        for event in events:
            reason = event.reason if isinstance(event, Finished) else reason
            _give(event, writers, caught)
    except OSError as error:
        raise DataError(f"metrics of the run cannot be written: {error.strerror}") from error
    finally:
        for writer in writers:
            writer.close()
    return reason


def _give(event: Event, writers: list[Writer], caught: list[int]) -> None:
    """Gives an event to every writer.

    A KeyboardInterrupt of a writer is added to the ``caught`` signals; after another signal it ends the run at once.
    """
    for writer in writers:
        try:
            writer.write(event)
        except KeyboardInterrupt:
            if caught:
                raise
            caught.append(signal.SIGINT)


@contextmanager
def open_run(  # noqa: PLR0913 - all that decides what is trained, by name
    recipe: str | Path,
    folder: Path,
    out: Path | None = None,
    *,
    overrides: Iterable[str] = (),
    resume: bool = False,
    checkpoint: str = "latest",
    allow: Sequence[str] = (),
    own: Tree | None = None,
    progress: Progress = silent,
) -> Iterator[OpenedRun]:
    """Prepares a new run, or the one in ``out`` to be resumed; creates the directory when all else has succeeded.

    The run stays locked until the ``with`` block ends.

    Args:
        recipe: a preset's name or a TOML file.
        folder: the text.
        out: run directory; None is the next free ``runs/NAME-NNN``.
        overrides: ``key=value`` strings over the recipe.
        resume: resume the run in ``out``, or start it if it has no checkpoint yet.
        checkpoint: where to resume from: latest, best or a name.
        allow: keys of the recipe that may differ when a run is resumed, and ``data`` for the text.
        own: the recipe's key ``own``, see ``tasks.own.given``; None: none.
        progress: called with how much of the text is encoded.

    Raises:
        ClearheadError: recipe, text, run directory or device cannot be used.
    """
    if resume and out is None:
        raise UsageError("--resume: name the run with --out RUN")
    exists = resume and out is not None and (out / "recipe.toml").exists()
    tree = read_recipe(recipe, overrides, start=load_recipe(out).get("start", "") if out and exists else "")
    if not resume and (allow or checkpoint != "latest"):
        raise UsageError("--allow-change, --checkpoint: for a run that goes on; add --resume")
    source = f"recipe {str(recipe)!r}"
    tree = _with_own(tree, own, source)
    with contextlib.ExitStack() as held:
        processes = held.enter_context(joined(_patience(tree)))

        def prepare() -> _Prepared:
            if out is not None and exists:
                return _resume(out, tree, folder, held, progress=progress, options=(source, checkpoint, allow))
            return _start(out, tree, folder, held, progress=progress, source=source)

        prepared = _prepare_once(prepare, processes, source, folder)
        job, notes = prepared.job, prepared.notes
        if isinstance(job, GradientJob):
            job.arrange()
            if prepared.checkpoint:
                notes = [*notes, *job.state.restore(prepared.checkpoint, verify=False)]
            if prepared.before is not None:
                said = [rate_note(job, prepared.before, new_text="data" in allow), precision_note(job)]
                notes = [*notes, *filter(None, said)]
        elif processes.world > 1:
            raise UsageError("torchrun: what is learned in one pass over the text is learned by one process")
        yield OpenedRun(job, prepared.path, tuple(notes))


def _with_own(tree: Tree, own: Tree | None, source: str) -> Tree:
    """Returns a recipe that names the code which is to be in its model."""
    if own and not family_of_recipe(tree, source).seeded:
        raise UsageError("model, modules: what is learned by counting has no modules")
    return merge(tree, own or {})


def _prepare_once(prepare: Callable[[], _Prepared], processes: Ranks, source: str, folder: Path) -> _Prepared:
    """Lets the first process read and encode the text; then the others load the encoded text."""
    if processes.world == 1:
        return prepare()
    first: _Prepared | None = None

    def prepare_and_save() -> str:
        nonlocal first
        first = prepare()
        first.job.save(first.path)
        return json.dumps([str(first.path), first.checkpoint and str(first.checkpoint)])

    path, checkpoint = (place and Path(place) for place in json.loads(processes.first_alone(prepare_and_save)))
    if first is not None:
        return first
    return _Prepared(prepare_job(load_recipe(path), source, folder, run=path), path, [], checkpoint)


def _patience(tree: Tree) -> float:
    """Returns the seconds that processes wait for one another; the recipe is checked later."""
    value = table(tree, "train").get("rank_timeout", MachineConfig.rank_timeout)
    return float(value) if isinstance(value, int | float) and value > 0 else MachineConfig.rank_timeout


def _resume(
    out: Path,
    tree: Tree,
    folder: Path,
    held: contextlib.ExitStack,
    *,
    progress: Progress,
    options: tuple[str, str, Sequence[str]],
) -> _Prepared:
    source, checkpoint, allow = options
    notes = held.enter_context(locked(out))
    finish_writing(out)
    tidy(out)
    if find_checkpoint(out, checkpoint) is None:
        # it ended before its first checkpoint, so that starting anew loses nothing
        return _Prepared(prepare_new(tree, folder, progress=progress, source=source), out, notes)
    before = with_precision_of({}, resolve(load_recipe(out), source))
    job, differing, path = prepare_resumed(out, tree, folder, progress=progress, checkpoint=checkpoint, allow=allow)
    return _Prepared(job, out, [*notes, *differing], path, before)


def _start(
    out: Path | None, tree: Tree, folder: Path, held: contextlib.ExitStack, *, progress: Progress, source: str
) -> _Prepared:
    if out is not None:
        check_free(out)
    job = prepare_new(tree, folder, progress=progress, source=source)
    run = create_run(out) if out is not None else new_run(job.recipe.name)
    return _Prepared(job, run, held.enter_context(locked(run)))


@checked
def train(  # noqa: PLR0913 - all that a caller may want of a training, by name
    recipe: str | Path,
    *,
    data: str | Path,
    out: str | Path | None = None,
    resume: bool = False,
    allow_changes: str | Iterable[str] = (),
    overrides: str | Iterable[str] = (),
    writers: Iterable[Writer] = (),
    model: Callable[[OwnModelConfig], nn.Module] | None = None,
    modules: Mapping[str, Callable[..., nn.Module]] | None = None,
    progress: bool = False,
) -> TrainResult:
    """Trains a model from raw text; what ``clearhead train`` does.

    What happens is logged under the name ``clearhead``, from the report on the text to every evaluation; nothing is
    printed unless ``progress`` asks for it.

    Once training has begun, Ctrl-C (in a notebook: interrupting the kernel), SIGTERM and SIGHUP end it after the step,
    with a checkpoint: the result's ``reason`` is then "interrupted", and ``resume`` goes on. A second Ctrl-C raises
    KeyboardInterrupt at once, and leaves the checkpoint before. Python lets only the main thread handle signals: in
    another thread a writer may end the run, by raising KeyboardInterrupt in its ``write``.

    Every step seeds the global random generators of Python, NumPy and torch, so that runs of one recipe are the same.

    Args:
        recipe: a preset's name or a TOML file.
        data: folder with the text files of the recipe.
        out: run directory; None is the next free ``runs/NAME-NNN``.
        resume: resume the run in ``out``, or start it if it has no checkpoint yet.
        allow_changes: keys of the recipe that may differ when a run is resumed, and ``data`` for the text.
        overrides: ``key=value`` strings over the recipe, such as ``src=zh``; or one such string.
        writers: consumers of the training events.
        model: builds a model of your own, derived from the recipe's (``GPT``, ``Transformer``, ``BertPretraining``,
            ``BertClassifier``), from an ``OwnModelConfig``, which has the sizes of the recipe and of the vocabulary.
        modules: classes in place of ours: ``{"norm": MyNorm, "mlp": MyMLP, "attention": MyAttention}``; how they are
            built and called says ``clearhead.nn.own.replace_parts``. The run keeps the paths to import all these by
            (``package.module:Name``), not the code, and warns of it.
        progress: whether to show steps, scores and the time left on stderr: in a terminal as a bar, elsewhere as lines.

    Raises:
        ClearheadError: recipe, text, run directory or device cannot be used.
    """
    where = Path(out) if out is not None else None
    changes, allow = ([text] if isinstance(text, str) else list(text) for text in (overrides, allow_changes))
    with (
        given(model, modules or {}) as own,
        open_run(recipe, Path(data), where, overrides=changes, resume=resume, allow=allow, own=own) as opened,
    ):
        job, shown = opened.job, list(writers)
        if ranks().rank == 0:
            _log_report(job, opened.path)
            told = (LogWriter, ProgressWriter) if progress else (LogWriter,)
            shown += [kind(job.max_steps, job.targets) for kind in told]
        return train_run(job, opened.path, shown, opened.notes)


def _log_report(job: Job, run: Path) -> None:
    """Logs what was read and built, before the first step."""
    for line in [*job.reports()["train"].lines(), job.headline(), *job.decided(), f"run directory: {run}"]:
        LOG.info("%s", line)
    for line in job.warnings():
        LOG.warning("%s", line)
