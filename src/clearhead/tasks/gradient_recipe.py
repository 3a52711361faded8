"""The keys that the recipes of all gradient-trained models share, and how the keys of older recipes are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from clearhead.config import Tree, merge
from clearhead.errors import UsageError
from clearhead.log import LOG
from clearhead.nn.lora import LoraConfig, add_lora
from clearhead.optim.build import OptimConfig
from clearhead.tasks.own import OwnConfig
from clearhead.text.tokenizer import TokenizerConfig
from clearhead.training.config import TrainConfig, ValidationConfig


@dataclass(frozen=True)
class GradientRecipe:
    """The settings of a training run; each family declares the types of its ``data``, ``model`` and ``loss``."""

    task: str = ""
    """The task that the model is trained for."""
    name: str = ""
    """Name of the recipe; its run directories are ``runs/NAME-NNN``."""
    about: str = ""
    """What the recipe is for, in one line."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """The tokenizer, which cuts text into pieces."""
    data: Any = None
    """The text: which files, and how they are read."""
    model: Any = None
    """The architecture: sizes and parts of the model."""
    loss: Any = None
    """The loss that training minimizes."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimizer, its schedule and the moving average of the weights."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Length of the run, size of its batches, learning rate, evaluations and checkpoints, device and precision."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """Which score on the valid split chooses the best checkpoint, and when training stops early."""
    own: OwnConfig | None = None
    """Code of one's own in the model: ``clearhead.train`` writes it, from its arguments ``model`` and ``modules``."""


@dataclass(frozen=True)
class WarmRecipe(GradientRecipe):
    """A recipe whose training may begin with a trained model."""

    start: str = ""
    """A run, or a folder in Hugging Face's layout, whose model is trained further; a classifier takes the encoder of
    it. Sizes and tokenizer are then those of that model; only ``max_seq_len`` may be set lower."""
    lora: LoraConfig | None = None
    """LoRA: trains low-rank matrices beside the layers of ``start`` and not its weights; heads are trained whole."""

    def __post_init__(self) -> None:
        if self.lora and not self.start:
            raise ValueError("lora: adapts a trained model; name it with start (--from RUN)")

    def inherited(self) -> Tree:
        """Returns the keys besides sizes and tokenizer that training from this model takes over unless it has them."""
        return self.own.inherited() if self.own else {}

    def check_started(self) -> None:
        """Checks the settings against the sizes of the model in ``start``; raises ValueError if they do not fit."""


def check_encoded_once(config: TokenizerConfig) -> None:
    """Raises ValueError if the tokenizer has dropout, where text is encoded once for all epochs."""
    if config.dropout:
        raise ValueError(f"tokenizer.dropout = {config.dropout}: text is encoded once, so it must be 0")


def adapt_layers(model: nn.Module, lora: LoraConfig | None) -> None:
    """Adds LoRA to the layers of ``model``, if ``lora`` is given; raises UsageError if no layer has such a name."""
    if lora is None:
        return
    try:
        add_lora(model, lora)
    except ValueError as error:
        raise UsageError(str(error)) from error


def with_lora_moved(tree: Tree, table: str, source: str) -> Tree:
    """Moves the old key ``TABLE.lora`` of a recipe to ``lora``, with a warning in the log.

    If the recipe has both, as where ``--set`` uses the old key over a run's recipe, the old key overrides the new one.
    """
    inner = tree.get(table)
    if not isinstance(inner, Mapping) or inner.get("lora") is None:
        return tree
    LOG.warning("%s: the key %s.lora is lora now", source, table)
    rest = {key: value for key, value in inner.items() if key != "lora"}
    old, new = inner["lora"], tree.get("lora")
    lora = merge(new, old) if isinstance(new, Mapping) and isinstance(old, Mapping) else old
    return {**tree, table: rest, "lora": lora}
