"""Consumers of the training loop's events: metrics as JSON lines, TensorBoard; and a picture of the curves."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from clearhead.errors import UsageError
from clearhead.files import write_whole
from clearhead.training.events import Counted, Diverging, Evaluated, Event, Skipped, Stepped


@runtime_checkable
class Writer(Protocol):
    """Receives every event of a run; ``close`` is called once, also after an error."""

    def write(self, event: Event) -> None:
        """Receives one event; a KeyboardInterrupt from here ends the run after its step, with a checkpoint."""

    def close(self) -> None:
        """Flushes and closes files."""


class JsonLinesWriter:
    """Appends a JSON object per step, count or evaluation to ``metrics.jsonl``.

    Args:
        path: the file; a resumed run continues it.
        from_step: the step that the run resumes after; lines of later steps are dropped.
        evaluated: False if that step is going to be evaluated: a line of that evaluation is left by a process that was
            killed before it saved the scores, and is dropped too.
    """

    def __init__(self, path: Path, *, from_step: int = 0, evaluated: bool = True) -> None:
        records = read_metrics(path) if path.exists() else []
        repeated = ("evaluated", from_step) if not evaluated else None
        earlier = [
            record
            for record in records
            if record["step"] <= from_step and (record["event"], record["step"]) != repeated
        ]
        write_whole(path, "".join(json.dumps(record) + "\n" for record in earlier).encode())
        # line-buffered: after a kill the run resumes from its last checkpoint, and no earlier step may be missing
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def write(self, event: Event) -> None:
        """Appends the event, unless it is a checkpoint or the end; numbers that are not finite become text."""
        if isinstance(event, Stepped | Skipped | Diverging | Counted | Evaluated):
            record = {"event": type(event).__name__.lower(), **dataclasses.asdict(event)}
            self._file.write(json.dumps({name: _in_json(value) for name, value in record.items()}) + "\n")

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
        """Adds the event's numbers."""
        if isinstance(event, Stepped):
            values = {"loss": event.loss, "lr": event.lr, "grad_norm": event.grad_norm}
            values["tokens_per_second"] = event.tokens / event.seconds
            scalars = {f"train/{name}": value for name, value in values.items()}
        elif isinstance(event, Evaluated):
            scalars = {f"valid/{name}": value for name, value in event.scores.items()}
        else:
            return
        for name, value in scalars.items():
            self._board.add_scalar(name, value, event.step)

    def close(self) -> None:
        """Flushes and closes."""
        self._board.close()


def _in_json(value: Any) -> Any:
    """Returns ``value``, as text if it is a number that is not finite: JSON has no such numbers."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads ``metrics.jsonl`` up to the first broken line, which a crash can leave at the end."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


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
    figure = Figure(figsize=(8, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    loss = [s["loss"] for s in steps]
    smooth = [sum(loss[max(0, i - 49) : i + 1]) / min(i + 1, 50) for i in range(len(loss))]
    upper.plot([s["step"] for s in steps], loss, linewidth=0.4, alpha=0.3, color="tab:blue")
    upper.plot([s["step"] for s in steps], smooth, color="tab:blue", label="train, as minimized (mean of 50 steps)")
    upper.plot(
        [s["step"] for s in scores],
        [s["scores"]["loss"] for s in scores],
        marker="o",
        color="tab:orange",
        label="valid, plain",
    )
    upper.set_ylabel("loss per target")
    upper.legend(loc="upper right")  # "best" looks for a place, and warns where that takes a second
    lower.plot([s["step"] for s in steps], [s["lr"] for s in steps])
    lower.set(xlabel="step", ylabel="learning rate")
    figure.savefig(picture, dpi=120)
    return True
