"""Consumers of the training loop's events: metrics as JSON lines, TensorBoard; and a picture of the curves."""

import dataclasses
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from clearhead.errors import UsageError
from clearhead.files import open_to_append, write_whole
from clearhead.training.events import (
    Begun,
    Counted,
    Diverging,
    Evaluated,
    Event,
    Finished,
    Sampled,
    Sized,
    Skipped,
    Stepped,
)
from clearhead.training.samples.shown import is_sampled, markdown, read_sampled

RESUMED = "resumed"
NEEDED = {
    "stepped": ("loss", "lr", "tokens", "seconds"),
    "skipped": ("loss", "grad_norm"),
    "diverging": ("loss",),
    "counted": ("tokens", "seconds"),
    "evaluated": (),
    "sampled": ("seconds",),
    "sized": ("last",),
    "begun": ("last",),
    "finished": (),
    RESUMED: (),
}
"""Events that are in ``metrics.jsonl``, and the numbers that a reader needs of each."""
RECORDED: dict[str, type[Any]] = {
    kind.__name__.lower(): kind
    for kind in (Begun, Sized, Stepped, Skipped, Diverging, Counted, Evaluated, Sampled, Finished)
}
"""Their classes."""
MOST_RECORD = 1 << 20  # bytes of a line, which has some hundreds


@runtime_checkable
class Writer(Protocol):
    """Receives every event of a run; ``close`` is called once, also after an error."""

    def write(self, event: Event) -> None:
        """Receives one event; a KeyboardInterrupt from here ends the run after its step, with a checkpoint."""

    def close(self) -> None:
        """Flushes and closes files."""


class JsonLinesWriter:
    """Appends a JSON object to ``metrics.jsonl`` for each event with numbers; what is there is never rewritten.

    These are steps, counts, evaluations and samples, what is decided about the length, and where training begins and
    ends.

    Args:
        path: the file; a resumed run continues it.
        from_step: the step that the run resumes after. A line ``resumed`` says so: lines of later steps before it are
            of steps that are taken again.
        evaluated: False if that step is going to be evaluated: a line of that evaluation is left by a process that was
            killed before it saved the scores, and does not count either.
    """

    def __init__(self, path: Path, *, from_step: int = 0, evaluated: bool = True) -> None:
        self._file = open_to_append(path)
        size = self._file.seek(0, os.SEEK_END)
        if size:
            self._file.seek(size - 1)
            ended = self._file.read(1) == b"\n"  # a crash can leave a part of a line
            record = {"event": RESUMED, "step": from_step, **({} if evaluated else {"evaluated": False})}
            self._append(record, begin="" if ended else "\n")

    def write(self, event: Event) -> None:
        """Appends the event, unless it is a checkpoint or a remark; numbers that are not finite become text."""
        name = type(event).__name__.lower()
        if name in RECORDED:
            self._append({"event": name, **dataclasses.asdict(event)})

    def _append(self, record: dict[str, Any], begin: str = "") -> None:
        self._file.write(f"{begin}{json.dumps(_in_json(record))}\n".encode())
        # at once: after a kill the run resumes from its last checkpoint, and no earlier step may be missing
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class TensorBoardWriter:
    """Writes scalars under ``train/`` and ``valid/`` for TensorBoard; needs the ``tensorboard`` extra.

    Args:
        folder: gets a file of events beside those of earlier processes.
        from_step: the step that the run resumes after; TensorBoard hides what earlier files have of later steps.
        evaluated: False if that step is going to be evaluated: earlier files count before it only.
        metrics: ``metrics.jsonl`` of the run, which then gives the numbers of that step again.
    """

    def __init__(
        self, folder: Path, *, from_step: int = 0, evaluated: bool = True, metrics: Path | None = None
    ) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError("--tensorboard: needs the extra, pip install 'clearhead[tensorboard]'") from error
        shown = from_step if evaluated else from_step - 1
        self._board: Any = SummaryWriter(str(folder), purge_step=shown + 1 if from_step else None)
        for record in read_metrics(metrics) if metrics and metrics.exists() else []:
            if record["event"] == "stepped" and shown < record["step"] <= from_step:
                self.write(Stepped(**{name: value for name, value in record.items() if name != "event"}))

    def write(self, event: Event) -> None:
        """Adds the event's numbers, and samples as a table."""
        if isinstance(event, Stepped):
            values = {"loss": event.loss, "lr": event.lr, "grad_norm": event.grad_norm}
            values["tokens_per_second"] = event.tokens / event.seconds
            scalars = {f"train/{name}": value for name, value in values.items()}
        elif isinstance(event, Evaluated):
            scalars = {f"valid/{name}": value for name, value in event.scores.items()}
        elif isinstance(event, Sampled):
            scalars = {f"samples/{name}": value for name, value in event.scores.items()}
            self._board.add_text("samples", markdown(event), event.step)
        else:
            return
        for name, value in scalars.items():
            self._board.add_scalar(name, value, event.step)

    def close(self) -> None:
        """Flushes and closes."""
        self._board.close()


def _in_json(value: Any) -> Any:
    """Returns ``value`` with text for numbers that are not finite: JSON has no such numbers."""
    if isinstance(value, dict):
        return {name: _in_json(inner) for name, inner in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _from_json(value: Any) -> Any:
    """Returns what ``_in_json`` was given."""
    if isinstance(value, dict):
        return {name: _from_json(inner) for name, inner in value.items()}
    return float(value) if value in ("nan", "inf", "-inf") else value


@dataclasses.dataclass
class History:
    """What ``metrics.jsonl`` says of a run."""

    records: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """Each step once: of steps that were taken again after the run was resumed, only what came last."""
    unreadable: list[int] = dataclasses.field(default_factory=list)
    """Numbers of the lines that are damaged, from 1; a crash can cut the last one short."""
    lines: int = 0
    """How many were read."""

    def take(self, line: bytes) -> dict[str, Any] | None:
        """Takes the next line of the file; returns its record, if it can be read."""
        self.lines += 1
        record = _record(line)
        if record is None:
            self.unreadable.append(self.lines)
        elif record["event"] == RESUMED:
            self.records = [earlier for earlier in self.records if _stays(earlier, record)]
        else:
            self.records.append(record)
        return record

    def notes(self, path: Path) -> list[str]:
        """Says which lines of the file at ``path`` cannot be read; nothing if all can."""
        if not self.unreadable:
            return []
        more = f" and {len(self.unreadable) - 5:,} more" if len(self.unreadable) > 5 else ""
        numbers = ", ".join(map(str, self.unreadable[:5])) + more
        return [f"{str(path)!r} cannot be read at line {numbers}: kept as it is, and left out of the curves"]


def read_history(path: Path) -> History:
    """Reads ``metrics.jsonl``, whatever it has become: lines that cannot be read are left out and counted.

    Raises:
        OSError: the file cannot be read.
    """
    history = History()
    with path.open("rb") as file:
        for line in _short_lines(file):
            history.take(line)
    return history


def event_of(record: dict[str, Any]) -> Event | None:
    """Returns the event that a record was written from; None if it has not what that has."""
    kind = RECORDED.get(record["event"])
    try:
        if kind is Sampled:
            return read_sampled(record)
        return kind(**{name: value for name, value in record.items() if name != "event"}) if kind else None
    except TypeError:
        return None


def _stays(record: dict[str, Any], resumed: dict[str, Any]) -> bool:
    """Whether a record from before a run was resumed still counts.

    It does if it is of no step or evaluation made again, and does not say where training began or ended.
    """
    if record["event"] in ("begun", "finished"):
        return False
    again = record["event"] in ("evaluated", "sampled") and not resumed.get("evaluated", True)
    return bool(record["step"] < resumed["step"] + (0 if again else 1))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns the records of ``read_history``."""
    return read_history(path).records


def history_notes(path: Path, step: int) -> list[str]:
    """Says what of the metrics of a run that resumes after ``step`` is lost; nothing for a new run.

    Raises:
        OSError: the file is there and cannot be read.
    """
    if path.exists():
        return read_history(path).notes(path)
    return [f"{str(path)!r} is gone: the curves begin at step {step + 1}"] if step else []


def _short_lines(file: io.BufferedIOBase) -> Iterator[bytes]:
    """Yields the lines of a file; of one that is longer than any that is written here, only the beginning."""
    while line := file.readline(MOST_RECORD):
        yield line
        while line and not line.endswith(b"\n"):
            line = file.readline(MOST_RECORD)


def _record(line: bytes) -> dict[str, Any] | None:
    """Returns the record in a line, or None if it is damaged."""
    try:
        record = _from_json(json.loads(line))
    except (ValueError, RecursionError):
        return None
    event = record.get("event") if isinstance(record, dict) else None
    if not isinstance(event, str) or event not in NEEDED:
        return None
    numbers = [record.get(name) for name in ("step", *NEEDED[event])]
    if event == "evaluated":
        scores = record.get("scores")
        numbers += [record.get("best"), *(scores.values() if isinstance(scores, dict) else [None])]
    if event == "sampled" and not is_sampled(record):
        return None
    return record if all(isinstance(number, float | int) for number in numbers) else None


def draw_curves(metrics: Path, picture: Path) -> bool:
    """Draws loss and learning rate over steps as a PNG; returns False without matplotlib or steps."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    records = read_metrics(metrics)
    steps = [record for record in records if record["event"] == "stepped"]
    if not steps:
        return False
    scores = [record for record in records if record["event"] == "evaluated"]
    figure = Figure(figsize=(8, 5))  # a layout that looks for its margins takes longer than all the rest
    figure.subplots_adjust(left=0.1, right=0.98, top=0.97, bottom=0.1, hspace=0.08)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    loss = [s["loss"] for s in steps]
    smooth = [sum(loss[max(0, i - 49) : i + 1]) / min(i + 1, 50) for i in range(len(loss))]
    upper.plot([s["step"] for s in steps], loss, linewidth=0.4, alpha=0.3, color="tab:blue")
    upper.plot([s["step"] for s in steps], smooth, color="tab:blue", label="train, as minimized (mean of 50 steps)")
    upper.plot(
        [s["step"] for s in scores if "loss" in s["scores"]],
        [s["scores"]["loss"] for s in scores if "loss" in s["scores"]],
        marker="o",
        color="tab:orange",
        label="valid, plain",
    )
    upper.set_ylabel("loss per target")
    upper.legend(loc="upper right")  # "best" looks for a place, and warns where that takes a second
    lower.plot([s["step"] for s in steps], [s["lr"] for s in steps])
    lower.set(xlabel="step", ylabel="learning rate")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120)
    write_whole(picture, drawn.getvalue())
    return True
