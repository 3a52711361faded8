"""Steps that go wrong: a loss that diverges, and a step that is not finite, saved for ``replay``."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from clearhead.checkpoint import Checkpoint, load_checkpoint, model_tensors, save_checkpoint
from clearhead.errors import ModelError
from clearhead.nn.shards import whole
from clearhead.training.events import Diverging, Skipped, Stepped

FOLDER = "failed-step"


@dataclass(frozen=True)
class Failure:
    """A step that failed, with everything needed to repeat it."""

    step: int
    seed: int
    """Of all random generators before the step."""
    loss: float
    grad_norm: float
    total: float
    """What the summed loss of all batches was divided by."""
    where: str
    """Which lines the batches come from."""
    batches: Sequence[Any]
    """Dataclasses of tensors and numbers."""


def save_failure(run: Path, model: nn.Module, failure: Failure, *, writes: bool = True) -> Path:
    """Writes ``run/failed-step``, in the form of a checkpoint, replacing that of an earlier failure.

    All processes must call this; only the one with ``writes`` writes.

    Raises:
        DataError: the disk is full or the place cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    plain: list[dict[str, Any]] = []
    for number, batch in enumerate(failure.batches):
        values = {field.name: getattr(batch, field.name) for field in fields(batch)}
        tensors |= {f"{number}/{name}": value.clone() for name, value in values.items() if isinstance(value, Tensor)}
        plain.append({name: value for name, value in values.items() if not isinstance(value, Tensor)})
    state = {**{name: value for name, value in vars(failure).items() if name != "batches"}, "batches": plain}
    weights = {name: whole(tensor) for name, tensor in model_tensors(model).items()}
    path = run / FOLDER
    if writes:
        save_checkpoint(path, Checkpoint({"model": weights, "batches": tensors}, state))
    return path


def load_failure(run: Path, kind: type[Any]) -> tuple[Failure, dict[str, Tensor]]:
    """Reads what ``save_failure`` wrote: the failed step, and the weights before it.

    Args:
        run: the directory.
        kind: class of the batches.

    Raises:
        ModelError: no step of the run failed, or a file is damaged.
    """
    path = run / FOLDER
    if not path.is_dir():
        raise ModelError(f"run {str(run)!r} has no step to replay: it was not ended by a loss that is not finite")
    saved = load_checkpoint(path)
    state = dict(saved.state)
    batches = []
    for number, plain in enumerate(state.pop("batches")):
        own = {
            key.split("/")[1]: value for key, value in saved.tensors["batches"].items() if key.startswith(f"{number}/")
        }
        batches.append(kind(**plain, **own))
    return Failure(**state, batches=batches), dict(saved.tensors["model"])


WINDOW = 20  # steps in a mean of the loss; single steps are noisy


class Divergence:
    """Watches the losses of a run and reports once that they diverge.

    They diverge if the mean of the last ``WINDOW`` steps is above the mean of the first ``WINDOW`` steps, and above the
    lowest such mean by half of that and by at least 1. Only steps since the start of the process are seen. Training is
    not changed, so that a resumed run equals an uninterrupted one.
    """

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=WINDOW)
        self._first: float | None = None
        self._lowest, self._lowest_step, self._reported = float("inf"), 0, False

    def see(self, event: Stepped | Skipped) -> Iterator[Diverging]:
        """Takes note of a step; yields an event if the loss diverges with it."""
        if isinstance(event, Skipped):
            return
        self._last.append(event.loss)
        if self._reported or len(self._last) < WINDOW:
            return
        mean = sum(self._last) / WINDOW
        self._first = mean if self._first is None else self._first
        if mean < self._lowest:
            self._lowest, self._lowest_step = mean, event.step
        if mean > max(self._first, self._lowest + max(1.0, self._lowest / 2)):
            self._reported = True
            yield Diverging(event.step, mean, self._lowest, self._lowest_step, event.lr)
