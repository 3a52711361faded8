"""The checkpoints of a run: written in a thread beside training, old ones dropped, a full disk reported."""

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from clearhead.checkpoint import Checkpoint, drop_checkpoint, save_checkpoint, tidy, verify_checkpoint
from clearhead.errors import ClearheadError, DataError, ModelError
from clearhead.manifest import checkpoints_of
from clearhead.runs.pointers import find_checkpoint, point_to
from clearhead.training.distributed import ranks
from clearhead.training.events import NotSaved, Saved
from clearhead.training.state import TrainState

MOST_FAILURES = 3
PARTS = ("recipe.toml", "labels.json", "tokenizer")


def finish_writing(run: Path) -> None:
    """Waits for a checkpoint of ``run`` that a thread of this process still writes.

    A second Ctrl-C does not wait for it; where the process lives on, as a notebook does, the run may be resumed then.
    """
    for thread in threading.enumerate():
        if thread.name == _thread_name(run):
            thread.join()


def _thread_name(run: Path) -> str:
    return f"checkpoint of {run.resolve()}"


@dataclass
class _Write:
    """A checkpoint that is being written."""

    step: int
    path: Path
    thread: threading.Thread | None = None
    problem: Exception | None = None


@dataclass
class Saver:
    """Writes the checkpoints of a run, one at a time, in a thread of its own.

    The thread reads a copy of the state and computes nothing, so that training gives the same numbers. If a checkpoint
    cannot be written, training goes on and an event says so; the third failure in a row, or the last checkpoint of a
    run, is an error.
    """

    run: Path
    keep_last: int
    seconds: float = 0.0
    """How long the last checkpoint took to be written."""
    _running: _Write | None = None
    _failures: int = 0
    _files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if ranks().rank:
            return
        tidy(self.run)
        for part in PARTS:
            place = self.run / part
            files = [place] if place.is_file() else sorted(place.glob("*.json"))
            self._files |= {file.relative_to(self.run).as_posix(): file.read_bytes() for file in files}

    def repair_best(self, state: TrainState) -> None:
        """Repairs ``best`` if the process died between saving the best checkpoint and moving the pointer to it.

        Raises:
            DataError: the pointer cannot be written.
        """
        if ranks().rank:
            return
        path, pointer = self.run / "checkpoints" / f"step-{state.best_step:08d}", self.run / "checkpoints" / "best"
        try:
            best = find_checkpoint(self.run)
        except ModelError:
            best = None  # it names nothing
        if state.best_score is not None and path.is_dir() and (best != path or not pointer.exists()):
            point_to(self.run, "best", path)

    def save(self, state: TrainState) -> list[Saved | NotSaved]:
        """Waits for the previous checkpoint, copies ``state`` and begins to write the copy.

        Returns:
            Whether the previous checkpoint was written.

        Raises:
            ClearheadError: the previous checkpoint was the third in a row that could not be written.
        """
        if ranks().rank:
            state.snapshot()  # sends this process's shards to process 0, which writes
            return []
        events = self.wait()
        checkpoint = replace(state.snapshot(), files=self._files)
        write = _Write(state.step, self.run / "checkpoints" / f"step-{state.step:08d}")
        write.thread = threading.Thread(
            target=self._write, args=(write, checkpoint), name=_thread_name(self.run), daemon=True
        )  # a second signal ends the process without waiting
        self._running = write
        write.thread.start()
        return events

    def poll(self) -> list[Saved | NotSaved]:
        """Returns whether a checkpoint was written that has just ended; never waits."""
        thread = self._running.thread if self._running else None
        return [] if thread is None or thread.is_alive() else self.wait()

    def wait(self, *, last: bool = False) -> list[Saved | NotSaved]:
        """Waits for the checkpoint that is being written; with ``last``, a failure to write it is an error.

        Raises:
            ClearheadError: see ``save``.
        """
        write, self._running = self._running, None
        if write is None or write.thread is None:
            return []
        write.thread.join()
        if write.problem is None:
            self._failures = 0
            return [Saved(write.step, write.path)]
        self._failures += 1
        if last or self._failures >= MOST_FAILURES or not isinstance(write.problem, ClearheadError):
            raise write.problem
        return [NotSaved(write.step, str(write.problem))]

    def _write(self, write: _Write, checkpoint: Checkpoint) -> None:
        started = time.perf_counter()
        try:
            save_checkpoint(write.path, checkpoint)
            self._read_back(write.path)
            if checkpoint.state["best_step"] == write.step:
                point_to(self.run, "best", write.path)
            point_to(self.run, "latest", write.path)  # only now: it must name a complete checkpoint
            self._drop_old(write.path, checkpoint.state["best_step"])
            self.seconds = time.perf_counter() - started
        except Exception as error:  # raised where training waits for this checkpoint
            write.problem = error

    def _read_back(self, path: Path) -> None:
        """Reads the new checkpoint back, before an older one is dropped."""
        try:
            verify_checkpoint(path, offer=False)
        except ModelError as error:
            raise DataError(f"checkpoint {str(path)!r} was written but does not read back: {error}") from error

    def _drop_old(self, newest: Path, best_step: int) -> None:
        """Drops old checkpoints: all but the last ``keep_last`` up to ``newest``, the best, and the target of ``best``.

        Checkpoints of later steps are left over from before the run went back to an earlier one; they stay, since
        training will reach these steps again.
        """
        try:
            best = find_checkpoint(self.run)
        except ModelError:
            return  # the best one is not known: drop none
        kept = {newest.name, f"step-{best_step:08d}", best.name if best else ""}
        past = [path for path in checkpoints_of(self.run) if path.name <= newest.name]
        for old in past[: -self.keep_last]:
            if old.name not in kept:
                drop_checkpoint(old)
