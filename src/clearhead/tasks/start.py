"""Where training starts from instead of random weights: another run, or a folder in Hugging Face's layout."""

from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from clearhead.checkpoint import LoadReport, load_matching, model_tensors
from clearhead.errors import ModelError, UsageError
from clearhead.interop.folder import is_folder
from clearhead.interop.spelling import Tensors
from clearhead.nn.lora import LoraLinear
from clearhead.tasks.classify import ClassifyRecipe
from clearhead.tasks.foreign import read_model
from clearhead.tasks.language_model import LanguageModelRecipe, load_net, load_tokenizer, parse_language_model
from clearhead.tasks.masked import MaskedRecipe, load_masked, parse_masked
from clearhead.tasks.run import load_recipe
from clearhead.tasks.translation import TransformerRecipe
from clearhead.text.tokenizer import Tokenizer
from clearhead.train.state import find_checkpoint

R = TypeVar("R", LanguageModelRecipe, MaskedRecipe)


@dataclass(frozen=True)
class Start:
    """A trained model that another one begins as."""

    source: str
    """What to call it in errors."""
    recipe: LanguageModelRecipe | MaskedRecipe
    """Its sizes and tokenizer count."""
    tokenizer: Tokenizer
    tensors: Tensors
    """Its weights by name; LoRA is merged."""

    def applied(self, recipe: R) -> R:
        """Returns ``recipe`` with sizes and tokenizer of this model; its dropout rates are kept.

        Raises:
            UsageError: the two do not go together, such as a batch below the context.
        """
        try:
            sizes = with_rates(self.recipe.model, recipe.model)
            found = replace(recipe, model=sizes, tokenizer=self.recipe.tokenizer)
            if isinstance(found, LanguageModelRecipe):
                found.check_window()
            return found
        except ValueError as error:
            raise UsageError(str(error)) from error

    def load_into(self, model: nn.Module) -> LoadReport:
        """Copies the weights into ``model``, whose layers may be adapted.

        Raises:
            ModelError: a tensor does not fit.
        """
        return load_weights(model, self.tensors, self.source)


def load_weights(model: nn.Module, tensors: Tensors, source: str) -> LoadReport:
    """Copies ``tensors`` into ``model``, whose layers may be adapted; raises ModelError if one does not fit."""
    adapted = {name for name, module in model.named_modules() if isinstance(module, LoraLinear)}

    def place(name: str) -> str:
        owner, _, part = name.rpartition(".")
        return f"{owner}.linear.{part}" if owner in adapted else name

    return load_matching(model, {place(name): tensor for name, tensor in tensors.items()}, source)


def with_rates(sizes: Any, rates: Any) -> Any:
    """Returns the model config ``sizes`` with what ``rates`` says of dropout and stochastic depth, in its block too."""
    kept = {}
    for field in fields(sizes):
        ours, theirs = getattr(sizes, field.name), getattr(rates, field.name)
        if field.name.endswith("dropout") or field.name == "stochastic_depth":
            kept[field.name] = theirs
        elif is_dataclass(ours):
            kept[field.name] = with_rates(ours, theirs)
    return replace(sizes, **kept)


def open_start(path: Path, *, task: str) -> Start:
    """Opens what ``--from`` names.

    Args:
        path: a run, or a folder of Hugging Face's.
        task: of the recipe that starts there.

    Raises:
        ModelError: it is neither, is for another task, has no checkpoint, or cannot be read.
    """
    if is_folder(path) and not (path / "recipe.toml").exists():
        found = read_model(path)
        if found.recipe.task != task or isinstance(found.recipe, ClassifyRecipe | TransformerRecipe):
            raise ModelError(f"start = {str(path)!r}: a model of the task {task} is needed, not {found.recipe.task!r}")
        return Start(str(path), found.recipe, found.tokenizer, found.tensors)
    source, tree = f"run {str(path)!r}", load_recipe(path)
    if (own := tree.get("task")) != task:
        raise ModelError(f"start = {str(path)!r}: a run of the task {task} is needed, not {own!r}")
    checkpoint = find_checkpoint(path)
    if checkpoint is None:
        raise ModelError(f"run {str(path)!r} has no checkpoint yet")
    tokenizer = load_tokenizer(path)
    if task == "masked":
        masked = parse_masked(tree, f"recipe of {source}")
        return Start(source, masked, tokenizer, model_tensors(load_masked(masked, tokenizer, checkpoint)))
    recipe = parse_language_model(tree, f"recipe of {source}")
    return Start(source, recipe, tokenizer, model_tensors(load_net(recipe, tokenizer, checkpoint)))
