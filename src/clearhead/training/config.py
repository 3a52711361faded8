"""What a recipe says of training: the tables ``train`` and ``validation``."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from clearhead.training.precision import PrecisionName

Count = Annotated[int, Ge(1)]
CountOrNever = Annotated[int, Ge(0)]
Monitor = Literal["loss", "bleu", "accuracy", "macro_f1", "matthews", "pearson", "spearman"]
"""Scores that decide which checkpoint is the best; all but the loss are the better the higher."""


@dataclass(frozen=True)
class MachineConfig:
    """On what and in which numbers the steps of a run are computed."""

    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1, mps."""
    precision: PrecisionName = "float32"
    """Of the matrix products; norms, losses and weights are float32. clearhead doctor
    says which is fast here."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Of several processes (torchrun): ddp, each has the whole model and a part of the rows; fsdp, each has a part of
    weights, gradients and optimizer state too."""
    rank_timeout: Annotated[float, Gt(0.0)] = 600.0
    """Seconds that processes wait for one another before the run ends."""
    checkpoint_activations: bool = False
    """Keeps the inputs of the layers alone and computes the rest again on the way back: less memory, a third slower."""
    compile: bool = False
    """Compiles the layers (torch.compile): faster steps after minutes of compiling."""
    max_skipped_steps: Count = 10
    """A step whose loss or gradient is not finite changes nothing and is skipped; so many in a row end the run."""


@dataclass(frozen=True)
class TrainConfig(MachineConfig):
    """Length, size and rhythm of a run."""

    max_steps: Count = 10_000
    """Optimizer steps of the whole run."""
    max_minutes: Annotated[float, Ge(0.0)] = 0.0
    """Stop, with a checkpoint and an evaluation, after this time; 0 sets no limit."""
    batch_tokens: Count = 4096
    """Padded target positions of a batch at the most (source positions if those are more)."""
    grad_accum_steps: Count = 1
    """Batches whose gradients make one step; each token counts the same whatever batch it is in."""
    lr: Annotated[float, Gt(0.0)] = 1e-3
    """Peak learning rate."""
    warmup_steps: CountOrNever = 1000
    """Steps of linear rise to the peak."""
    seed: CountOrNever = 0
    """Of weights, order and dropout."""
    evaluate_every: CountOrNever = 500
    """Steps between evaluations on the valid split; 0 evaluates at the end only."""
    checkpoint_every: CountOrNever = 500
    """Steps between checkpoints; 0 saves at evaluations and at the end only."""
    keep_last: Count = 3
    """Checkpoints kept besides the best one."""


@dataclass(frozen=True)
class ValidationConfig:
    """How a run is judged while it goes on."""

    monitor: Monitor = "loss"
    """What the best checkpoint is chosen by: loss; of a translation bleu, which translates the valid split (greedy) at
    each evaluation; of a classifier accuracy, macro_f1 or matthews; of predicted numbers pearson or spearman."""
    patience: CountOrNever = 0
    """Evaluations without a better score before the run stops; 0 never stops early."""
    max_sentences: CountOrNever = 0
    """Valid sentences translated for bleu, from the top; 0 takes all."""

    def check(self, *known: Monitor) -> None:
        """Checks that ``monitor`` is among the scores that a task has; ValueError if it is not."""
        if self.monitor not in known:
            raise ValueError(f"validation.monitor = {self.monitor!r}: must be one of {', '.join(known)}")
