"""The events that the training loop yields, one small record each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Reason = Literal["max_steps", "max_minutes", "early_stop", "interrupted", "complete"]
"""Why a loop ends."""


@dataclass(frozen=True)
class Stepped:
    """An optimizer step was taken."""

    step: int
    epoch: int
    loss: float
    """Mean over the step's real target pieces, in nats."""
    lr: float
    grad_norm: float
    """Of all gradients together, before clipping."""
    tokens: int
    """Real target pieces of the step."""
    seconds: float


@dataclass(frozen=True)
class Skipped:
    """A step was skipped, since its loss or a gradient is not finite; training goes on with the next batches."""

    step: int
    """The number that the step would have had."""
    epoch: int
    loss: float
    grad_norm: float
    in_row: int
    """Steps skipped since the last one that was taken."""
    where: str
    """Which lines the batches come from."""
    seconds: float


@dataclass(frozen=True)
class Diverging:
    """The loss is far above its lowest mean; reported once, and the run goes on."""

    step: int
    loss: float
    """Mean of the last steps."""
    lowest: float
    """The lowest such mean."""
    lowest_step: int
    lr: float


@dataclass(frozen=True)
class Counted:
    """All text was counted in one pass, as an n-gram model is trained."""

    step: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """The valid split was scored."""

    step: int
    scores: Mapping[str, float]
    best: bool
    seconds: float


@dataclass(frozen=True)
class Saved:
    """A checkpoint was written."""

    step: int
    path: Path


@dataclass(frozen=True)
class NotSaved:
    """A checkpoint could not be written; training goes on, and the previous checkpoint is unchanged."""

    step: int
    problem: str


@dataclass(frozen=True)
class Noted:
    """A remark for the user."""

    step: int
    line: str


@dataclass(frozen=True)
class Finished:
    """The loop is over."""

    step: int
    reason: Reason


Event = Stepped | Skipped | Diverging | Counted | Evaluated | Saved | NotSaved | Noted | Finished
