"""Steps that go wrong: a loss that diverges, and a step that would not become finite, kept for ``replay``."""

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
    """What a step was on."""

    step: int
    seed: int
    """Of torch's generator before the step."""
    loss: float
    grad_norm: float
    total: float
    """What the summed loss of all batches was divided by."""
    where: str
    """Which lines the batches are of."""
    batches: Sequence[Any]
    """Dataclasses of tensors and numbers."""


def save_failure(run: Path, model: nn.Module, failure: Failure, *, writes: bool = True) -> Path:
    """Writes ``run/failed-step``, in the form of a checkpoint, over what an earlier failure left there.

    Of several processes all must call this, and one ``writes``.

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
    """Reads what ``save_failure`` wrote, and the weights.

    Args:
        run: the directory.
        kind: class of the batches.

    Raises:
        ModelError: no step of the run failed, or what is there is damaged.
    """
    path = run / FOLDER
    if not path.is_dir():
        raise ModelError(f"run {str(run)!r} has no step to replay: it was not ended by a loss that is not finite")
    saved = load_checkpoint(path)
    found = dict(saved.state)
    batches = []
    for number, plain in enumerate(found.pop("batches")):
        own = {
            key.split("/")[1]: value for key, value in saved.tensors["batches"].items() if key.startswith(f"{number}/")
        }
        batches.append(kind(**plain, **own))
    return Failure(**found, batches=batches), dict(saved.tensors["model"])


WINDOW = 20  # steps whose mean is looked at: single steps are noise


class Divergence:
    """Watches the losses of a run and speaks once.

    The mean of the last ``WINDOW`` steps counts as diverging where it is above that of the first ``WINDOW``, and above
    the lowest such mean by half of it and by 1 at least. It looks at what was trained since the start of the process
    and changes nothing, so that a resumed run is the uninterrupted one.
    """

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=WINDOW)
        self._first: float | None = None
        self._lowest, self._lowest_step, self._said = float("inf"), 0, False

    def see(self, event: Stepped | Skipped) -> Iterator[Diverging]:
        """Takes a step; yields what there is to say of it, which is mostly nothing."""
        if isinstance(event, Skipped):
            return
        self._last.append(event.loss)
        if self._said or len(self._last) < WINDOW:
            return
        mean = sum(self._last) / WINDOW
        self._first = mean if self._first is None else self._first
        if mean < self._lowest:
            self._lowest, self._lowest_step = mean, event.step
        if mean > max(self._first, self._lowest + max(1.0, self._lowest / 2)):
            self._said = True
            yield Diverging(event.step, mean, self._lowest, self._lowest_step, event.lr)
