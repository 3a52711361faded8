"""The recipe's tables ``train`` and ``validation``."""

from dataclasses import dataclass
from typing import Literal

from clearhead.ranges import Count, CountOrZero, LearningRate, Minutes, Positions, Samples, Seconds, Seed
from clearhead.text.language import BleuTokenize
from clearhead.training.precision import PrecisionName

Monitor = Literal["loss", "bleu", "accuracy", "macro_f1", "matthews", "pearson", "spearman"]
"""Scores that can decide which checkpoint is the best; higher is better, except for the loss."""


@dataclass(frozen=True)
class MachineConfig:
    """The device of a run, its number format, its processes, and its trade-offs of memory and speed."""

    device: str = "auto"
    """Device: auto (a GPU if there is one), cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", PrecisionName] = "auto"
    """Number format of matrix products; norms, losses and weights are always float32. auto is bfloat16 where the device
    has it and a measured gradient is faster, else float32; a run decides before its first step and keeps to it."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several processes (torchrun) share the work: with ddp each has the whole model and a part of the rows; with
    fsdp each also has only a part of the weights, gradients and optimizer state."""
    rank_timeout: Seconds = 600.0
    """Seconds that a process waits for the others before the run ends."""
    checkpoint_activations: bool = False
    """Keep only the inputs of the layers and recompute the other activations in the backward pass: less memory, steps
    a third slower."""
    compile: bool = False
    """Compile the layers (torch.compile): faster steps after minutes of compiling."""
    max_skipped_steps: Count = 10
    """A step whose loss or gradient is not finite is skipped and changes nothing; this many in a row end the run."""

    @property
    def numbers(self) -> PrecisionName:
        """The precision as a step takes it; ``auto``, as long as it is not decided, is float32."""
        return "float32" if self.precision == "auto" else self.precision


@dataclass(frozen=True)
class TrainConfig(MachineConfig):
    """The length of a run, the size of its steps, and when it evaluates and saves."""

    max_steps: CountOrZero = 10_000
    """Optimizer steps of the whole run, at most; 0 leaves its length to ``max_minutes``."""
    max_minutes: Minutes = 0.0
    """Minutes of the whole run, evaluations and checkpoints included: steps, warm-up and decay are sized so that the
    schedule ends with them; 0 sets no limit. With ``max_steps``, what is reached first."""
    batch_tokens: Positions = 4096
    """Most positions of a batch, padding included, on the target or the source side, whichever has more."""
    grad_accum_steps: Count = 1
    """Batches per optimizer step; each token counts the same, whatever batch it is in."""
    lr: LearningRate = 1e-3
    """Peak learning rate."""
    warmup_steps: CountOrZero = 1000
    """Steps in which the learning rate rises linearly to its peak."""
    seed: Seed = 0
    """Seed of the weights, the order of the data and dropout."""
    evaluate_every: CountOrZero = 500
    """Steps between evaluations on the valid split; 0 evaluates at the end only."""
    checkpoint_every: CountOrZero = 500
    """Steps between checkpoints; 0 saves at evaluations and at the end only."""
    keep_last: Count = 3
    """Number of latest checkpoints kept besides the best one."""

    def __post_init__(self) -> None:
        if not self.max_steps and not self.max_minutes:
            raise ValueError("train.max_steps = 0: leaves the length of the run to train.max_minutes; set that")


@dataclass(frozen=True)
class ValidationConfig:
    """How a run is evaluated on the valid split during training."""

    monitor: Monitor = "loss"
    """Score that chooses the best checkpoint: loss; for translation also bleu, which translates the valid split
    greedily at each evaluation, as ``evaluate --beam 1`` does; for classifiers accuracy, macro_f1 or matthews; for
    regression pearson or spearman."""
    patience: CountOrZero = 0
    """Evaluations without a better score after which the run stops; 0 never stops early."""
    max_sentences: CountOrZero = 0
    """How many valid lines, from the first on, are translated for bleu; 0 takes all."""
    tokenize: Literal["auto", BleuTokenize] = "auto"
    """sacreBLEU's tokenizer, here and in ``evaluate``: auto is that of the target language; none suits text that is
    tokenized already."""
    samples: Samples = 3
    """Lines of the valid split, the same at every evaluation, of which what the model makes is shown: translations,
    continuations, filled masks or classes. They change nothing in training; 0 shows none."""

    def check(self, *known: Monitor) -> None:
        """Raises ValueError if ``monitor`` is not among ``known``, the scores that a task has."""
        if self.monitor not in known:
            raise ValueError(f"validation.monitor = {self.monitor!r}: must be one of {', '.join(known)}")
