"""What the recipes of all models that learn by gradients have in common, and where older recipes had their keys."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from clearhead.config import Tree, merge
from clearhead.errors import UsageError
from clearhead.nn.lora import LoraConfig, add_lora
from clearhead.optim.build import OptimConfig
from clearhead.text.tokenizer import TokenizerConfig
from clearhead.training.config import TrainConfig, ValidationConfig

LOG = logging.getLogger("clearhead")


@dataclass(frozen=True)
class GradientRecipe:
    """All that a training follows; each family says what its ``data``, ``model`` and ``loss`` are."""

    task: str = ""
    """What is trained."""
    name: str = ""
    """Names the run directory."""
    about: str = ""
    """One line on what the recipe is for."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """How text becomes pieces."""
    data: Any = None
    """Which text is used."""
    model: Any = None
    """Sizes and parts."""
    loss: Any = None
    """What is minimized."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """By what means."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How long and how much at a time."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """How the run is judged."""


@dataclass(frozen=True)
class WarmRecipe(GradientRecipe):
    """The recipe of a training that may begin with a trained model."""

    start: str = ""
    """A run, or a folder in Hugging Face's layout, whose model is trained further; a classifier takes its encoder.
    Sizes and tokenizer are then its own, but for a ``max_seq_len`` that is set lower."""
    lora: LoraConfig | None = None
    """Trains small products beside the layers of ``start`` in place of all its weights; heads are trained whole."""

    def __post_init__(self) -> None:
        if self.lora and not self.start:
            raise ValueError("lora: adapts a trained model; name it with start (--from RUN)")

    def check_started(self) -> None:
        """Checks what depends on the sizes that came from ``start``; ValueError if they do not fit."""


def check_encoded_once(config: TokenizerConfig) -> None:
    """Checks that pieces are not drawn anew each epoch; ValueError if they are."""
    if config.dropout:
        raise ValueError(f"tokenizer.dropout = {config.dropout}: text is encoded once, so it must be 0")


def adapt_layers(model: nn.Module, lora: LoraConfig | None) -> None:
    """Sets small products beside the layers of ``model``, if asked to; UsageError if none has such a name."""
    if lora is None:
        return
    try:
        add_lora(model, lora)
    except ValueError as error:
        raise UsageError(str(error)) from error


def with_lora_moved(tree: Tree, table: str, source: str) -> Tree:
    """Returns a recipe with ``lora`` where it is today: older ones had it inside of ``table``. The log says so.

    A recipe that has both, as where an old key is set over a run's recipe, gets what the old key says over the rest.
    """
    inner = tree.get(table)
    if not isinstance(inner, Mapping) or inner.get("lora") is None:
        return tree
    LOG.warning("%s: the key %s.lora is lora now", source, table)
    rest = {key: value for key, value in inner.items() if key != "lora"}
    over = inner["lora"]
    known = tree.get("lora")
    lora = merge(known, over) if isinstance(known, Mapping) and isinstance(over, Mapping) else over
    return {**tree, table: rest, "lora": lora}
