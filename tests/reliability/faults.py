"""Where a training process is made to die: wrappers put around functions of the library, in the process that dies.

The library knows nothing of them: a point is a function and the n-th call of it, before, in the middle or after.
"""

import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.optim.swa_utils import AveragedModel

from clearhead import checkpoint, files
from clearhead.optim.build import Optimizers
from clearhead.training import loop, saving
from clearhead.training.state import TrainState

# name -> what is wrapped, and how often it is called until a run is over, about
POINTS: dict[str, tuple[list[tuple[Any, str]], int]] = {
    "step": ([(Optimizers, "zero_grad"), (Optimizers, "step"), (AveragedModel, "update_parameters")], 30),
    "evaluation": ([(loop, "_evaluate")], 2),
    "snapshot": ([(TrainState, "snapshot")], 4),
    "tensors": ([(checkpoint, "save_file")], 9),
    "write": ([(Path, "write_text"), (Path, "write_bytes")], 24),
    "sync": ([(checkpoint, "sync"), (files, "sync")], 60),
    "rename": ([(Path, "rename")], 6),
    "replace": ([(Path, "replace")], 12),
    "pointer": ([(saving, "point_to")], 6),
    "drop": ([(saving, "drop_checkpoint")], 3),
    "start": ([(TrainState, "restore"), (saving, "tidy")], 1),
}


@dataclass(frozen=True)
class Fault:
    """One death."""

    point: str
    """A name of ``POINTS``, or clock, or signal."""
    at: float
    """Number of the call, from 1; of clock seconds; of signal the step."""
    when: str = "before"
    """before, torn (half of what is written), after."""

    @classmethod
    def draw(cls, rng: random.Random, *, seconds: float) -> "Fault":
        """Draws one: a fifth by the clock, a tenth by a signal that may be answered, the others at a point."""
        kind = rng.random()
        if kind < 0.2:
            return cls("clock", rng.uniform(0.1, 1.0) * seconds)
        if kind < 0.3:
            return cls("signal", rng.randint(1, 12))
        point = rng.choice(list(POINTS))
        return cls(point, rng.randint(1, POINTS[point][1]), rng.choice(["before", "torn", "after"]))


def arm(fault: Fault) -> None:
    """Puts the wrappers of ``fault`` in place, in this process."""
    if fault.point == "signal":
        _arm_signal(int(fault.at))
    if fault.point not in POINTS:
        return
    count = 0

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            due = count == fault.at
            if due and fault.when == "torn":
                _tear(real.__name__, given)
            if due and fault.when != "after":
                die()
            result = real(*given, **more)
            if due:
                die()
            return result

        return call

    for owner, name in POINTS[fault.point][0]:
        setattr(owner, name, wrapped(getattr(owner, name)))


def die() -> None:
    """Ends this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def _tear(name: str, given: tuple[Any, ...]) -> None:
    """Leaves half of what a call would have written."""
    if name in ("write_text", "write_bytes"):
        content = given[1].encode() if isinstance(given[1], str) else given[1]
        with open(given[0], "wb") as stream:
            stream.write(content[: len(content) // 2])
    elif name == "save_file":
        Path(given[1]).write_bytes(b"\x10\0\0\0\0\0\0\0{")


def _arm_signal(step: int) -> None:
    """Sends SIGTERM or SIGINT in the middle of a step."""
    count, real = 0, Optimizers.step

    def call(*given: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGTERM if step % 2 else signal.SIGINT)
        return real(*given, **more)

    Optimizers.step = call  # type: ignore[method-assign]
