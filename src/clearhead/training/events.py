"""The events that the training loop yields, one small record each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Limit = Literal["max_steps", "max_minutes"]
"""What bounds the length of a run."""
Reason = Literal[Limit, "early_stop", "interrupted", "complete"]
"""Why a loop ends."""


@dataclass(frozen=True)
class Begun:
    """Training begins, or goes on."""

    step: int
    """The last step taken."""
    last: int
    """The last step of the run, as far as it is known; 0 leaves it to ``Sized``."""
    targets: str
    """The unit of ``Stepped.tokens``: tokens or lines."""


@dataclass(frozen=True)
class Sized:
    """The length of a run with a budget of time was decided, or decided anew, by the time that its steps take."""

    step: int
    """The step before the first one that this is for."""
    last: int
    """The last step of the run; 0 while its first steps are measured."""
    warmup_steps: int
    seconds_left: float
    """Until the end of the run: of its budget, or of ``train.max_steps`` where that comes first."""
    step_seconds: float = 0.0
    """What a step takes, as measured for the decision; 0 if not measured."""
    evaluation_seconds: float = 0.0
    """What an evaluation takes."""


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
class SampledLine:
    """What the model made of a line of the valid split."""

    given: str
    """What it read: a source, the beginning of a text, a text with masks, a text or a pair."""
    wanted: str
    """What stands in the valid split: the reference, how the text goes on, the text without masks, the label."""
    made: str
    score: float | None = None
    """By the one measure that ``Sampled.scores`` names; None without one."""
    source: str = ""
    """Name of the corpus, where there are several."""


@dataclass(frozen=True)
class Sampled:
    """What the model makes of a few lines of the valid split, the same ones at each evaluation."""

    step: int
    lines: Sequence[SampledLine]
    scores: Mapping[str, float]
    """Of these lines alone: chrf of translations, 0 to 100, or the right share of masks or labels; one at most."""
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


Event = (
    Begun | Sized | Stepped | Skipped | Diverging | Counted | Evaluated | Sampled | Saved | NotSaved | Noted | Finished
)
