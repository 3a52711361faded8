"""Examples for forecasts: how the model of a recipe is built, and its loss on a batch without content."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from clearhead.config import Tree
from clearhead.data.labels.labels import Labels
from clearhead.errors import UsageError
from clearhead.models.rnn import RNNConfig
from clearhead.runs.text_parts import ModelSizes
from clearhead.tasks.catalog import AnyLearnedFamily, family_of, family_of_recipe
from clearhead.tasks.family import LearnedFamily
from clearhead.tasks.warm_start import start_of
from clearhead.training.job import GradientJob, Recipe

TWO_CLASSES = Labels(("no", "yes"), pairs=False)  # of a classifier whose text has not been read


@dataclass(frozen=True)
class Example:
    """How a model is built, and its loss on a batch of any number of rows, without padding."""

    build: Callable[[Any], nn.Module]
    """(recipe) -> its model; the recipe may have another depth."""
    loss: Callable[[nn.Module, int], Tensor]
    """(model, rows) -> the loss of a batch."""
    width: int
    """Positions of a row."""
    model: nn.Module | None = None
    """The model in training, if there is one: with content."""


def example_of(tree: Tree, source: str, vocab_size: int | None) -> tuple[Recipe, Example]:
    """Returns the recipe and an example of it, with rows as wide as the recipe allows.

    Args:
        tree: the recipe.
        source: what to call the recipe in errors.
        vocab_size: pieces in the vocabulary; None takes the most that the recipe allows.

    Raises:
        UsageError: the recipe is wrong, or models of its task cannot be forecast.
        ModelError: the model that training starts from cannot be read.
    """
    family = family_of_recipe(tree, source)
    recipe: Any = None
    if isinstance(family, LearnedFamily) and start_of(tree):
        start = family.open_start(Path(start_of(tree)), tree)
        recipe = start.recipe(tree, source, family.parse)
        vocab_size = vocab_size or start.parts.tokenizer.vocab_size
    elif isinstance(family, LearnedFamily):
        recipe = family.sketch(tree, source)
    if not isinstance(family, LearnedFamily) or _is_recurrent(recipe):
        raise UsageError(f"{source}: task = {tree['task']!r}: only Transformers are forecast")
    pieces = vocab_size or recipe.tokenizer.vocab_size
    return recipe, _example(family, recipe, ModelSizes(pieces, pieces, labels=TWO_CLASSES), family.width(recipe))


def example_of_job(job: GradientJob[Any, Any]) -> Example | None:
    """Returns an example of a run whose text has been read: with its sizes, and rows as wide as its widest.

    Returns None for a recurrent model, since the memory that its kernels keep for the backward pass is not known.
    """
    family = family_of(job.recipe.task)
    if _is_recurrent(job.recipe) or not isinstance(family, LearnedFamily):
        return None
    return replace(_example(family, job.recipe, job.parts.sizes, job.width), model=job.state.model)


def _is_recurrent(recipe: Any) -> bool:
    return isinstance(recipe.model, RNNConfig)


def _example(family: AnyLearnedFamily, recipe: Any, sizes: ModelSizes, width: int) -> Example:
    def loss(model: nn.Module, rows: int) -> Tensor:
        return family.loss(model, family.blank(recipe, rows, width), recipe, sizes)[0]

    return Example(partial(family.build, sizes=sizes), loss, width)
