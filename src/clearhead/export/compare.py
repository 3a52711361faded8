"""Two runtimes side by side on the same rows: how far outputs differ, whether the pieces written are the same."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clearhead.export.ours import Ours, batches
from clearhead.export.runtime import Row, Runtime

BOUND, LEAST = 1e-5, 10.0
"""Float32 may differ by this share of the largest output, or of ``LEAST``, through another order of sums."""
Judge = Callable[[int, Tensor], Sequence[int | float]]
"""What counts for the quality of a model in the logits of the row of this number."""


@dataclass(frozen=True)
class Difference:
    """Outputs of two runtimes over all rows."""

    max_abs: float
    """Largest difference of two outputs."""
    largest: float
    """Largest output of ours, as a number without sign."""
    mean_kl: float | None
    """Mean of the Kullback-Leibler divergence over positions, in nats; None without distributions."""
    positions: int
    worst: int
    """Number of the row with the largest difference."""
    seconds: tuple[float, float]
    """That ours and theirs took."""

    @property
    def bound(self) -> float:
        """Up to which outputs count as equal."""
        return BOUND * max(LEAST, self.largest)

    @property
    def equal(self) -> bool:
        """Whether no output differs by more than ``bound``; one that is not a number differs."""
        return self.max_abs <= self.bound


@torch.inference_mode()
def compare_outputs(
    ours: Ours, theirs: Runtime, rows: Sequence[Row], judge: Judge | None = None
) -> tuple[Difference, list[Sequence[int | float]], list[Sequence[int | float]]]:
    """Computes all rows on both sides, a few at once.

    Args:
        ours: the model that was exported.
        theirs: the artefact.
        rows: what both read.
        judge: called with the logits of each row; those of a runtime that gives states are made by our heads.

    Returns:
        How far they differ, and by row what ``judge`` says of ours and of theirs.
    """
    ours = ours.giving(theirs.gives)
    max_abs, largest, divergence, positions, worst = 0.0, 0.0, 0.0, 0, 0
    distributions = theirs.gives == "logits"
    before: list[Sequence[int | float]] = [()] * len(rows)
    after: list[Sequence[int | float]] = [()] * len(rows)
    seconds = [0.0, 0.0]
    for batch in batches(rows):
        part = [rows[number] for number in batch]
        (own_part, first), (other_part, second) = (_timed(runtime, part) for runtime in (ours, theirs))
        seconds = [seconds[0] + first, seconds[1] + second]
        for number, own, other in zip(batch, own_part, other_part, strict=True):
            if own.shape != other.shape:
                raise ValueError(f"outputs of shape {list(other.shape)}, ours {list(own.shape)}")
            difference = _largest(own - other)
            if difference > max_abs:
                max_abs, worst = difference, number
            largest = max(largest, _largest(own))
            positions += len(own)
            distributions = distributions and own.shape[-1] > 1
            divergence += _divergence(own, other) if distributions else 0.0
            if judge is not None:
                finish = ours.heads if theirs.gives == "states" else _same
                before[number], after[number] = judge(number, finish(own)), judge(number, finish(other))
    kl = divergence / max(positions, 1) if distributions else None
    return Difference(max_abs, largest, kl, positions, worst, (seconds[0], seconds[1])), before, after


def _timed(runtime: Runtime, rows: Sequence[Row]) -> tuple[list[Tensor], float]:
    started = time.perf_counter()
    return runtime.outputs(rows), time.perf_counter() - started


def _largest(values: Tensor) -> float:
    """Returns the largest number without its sign; what is no number is larger than all others."""
    return float(values.nan_to_num(math.inf, math.inf, -math.inf).abs().max()) if values.numel() else 0.0


def _same(outputs: Tensor) -> Tensor:
    return outputs


def _divergence(own: Tensor, other: Tensor) -> float:
    p, q = own.double().log_softmax(-1), other.double().log_softmax(-1)
    return float((p.exp() * (p - q)).sum())


@dataclass(frozen=True)
class Same:
    """How many of several results are the same on both sides."""

    equal: int
    of: int
    first_difference: int | None
    """Number of the first that differs; None where none does."""

    @classmethod
    def count(cls, ours: Sequence[object], theirs: Sequence[object]) -> "Same":
        """Compares results one by one."""
        differing = [number for number, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
        return cls(len(ours) - len(differing), len(ours), differing[0] if differing else None)

    @property
    def all(self) -> bool:
        """Whether none differs."""
        return self.first_difference is None
