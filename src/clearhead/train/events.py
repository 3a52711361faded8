"""What the loop tells: one small record per thing that happened."""

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
class Counted:
    """All text was read in one pass: training without gradients."""

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
    """A checkpoint could not be written; training goes on, and the one before it is as it was."""

    step: int
    problem: str


@dataclass(frozen=True)
class Noted:
    """Something that a person should know."""

    step: int
    line: str


@dataclass(frozen=True)
class Finished:
    """The loop is over."""

    step: int
    reason: Reason


Event = Stepped | Counted | Evaluated | Saved | NotSaved | Noted | Finished
