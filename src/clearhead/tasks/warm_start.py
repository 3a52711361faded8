"""Where training starts from instead of random weights: another run, or a folder in Hugging Face's layout."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from clearhead.checkpoint import LoadReport, load_matching, model_tensors
from clearhead.config import Tree, as_tree, differences, merge
from clearhead.errors import ModelError, UsageError
from clearhead.interop.folder import is_folder
from clearhead.interop.spelling import Tensors
from clearhead.models.bert import BertConfig
from clearhead.models.gpt import GPTConfig
from clearhead.models.rnn import RNNConfig
from clearhead.nn.lora import LoraLinear
from clearhead.nn.position import LearnedPosition
from clearhead.runs.pointers import find_checkpoint
from clearhead.runs.recipes import is_rate, load_recipe, with_keys
from clearhead.runs.tokenizers import load_tokenizer
from clearhead.tasks.classify.recipe import ClassifyRecipe
from clearhead.tasks.imported import read_model
from clearhead.tasks.language_model.recipe import LanguageModelRecipe, load_net, parse_language_model
from clearhead.tasks.masked.recipe import MaskedRecipe, load_masked, parse_masked
from clearhead.tasks.translation.recipe import TransformerRecipe
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

R = TypeVar("R", LanguageModelRecipe, MaskedRecipe, ClassifyRecipe)


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

    def begun(self, tree: Tree, source: str, parse: Callable[[Tree, str], R]) -> R:
        """Returns the recipe that starts here; see ``begun_as``.

        Raises:
            UsageError: the two do not go together, such as a batch below the context.
        """
        found = begun_as(tree, source, parse, model=self.recipe.model, tokenizer=self.recipe.tokenizer)
        try:
            if isinstance(found, LanguageModelRecipe):
                found.check_window()
        except ValueError as error:
            raise UsageError(str(error)) from error
        return found

    def load_into(self, model: nn.Module) -> LoadReport:
        """Copies the weights into ``model``, whose layers may be adapted.

        Raises:
            ModelError: a tensor does not fit.
        """
        return load_weights(model, self.tensors, self.source)


def load_weights(model: nn.Module, tensors: Tensors, source: str) -> LoadReport:
    """Copies ``tensors`` into ``model``, whose layers may be adapted; raises ModelError if one does not fit.

    Of positions that are learned a model of shorter rows gets those that it has.
    """
    adapted = {name for name, module in model.named_modules() if isinstance(module, LoraLinear)}
    tables = {f"{name}.weight": part for name, part in model.named_modules() if isinstance(part, LearnedPosition)}

    def place(name: str) -> str:
        owner, _, part = name.rpartition(".")
        return f"{owner}.linear.{part}" if owner in adapted else name

    cut = {name: tensors[name][: len(table.weight)] for name, table in tables.items() if name in tensors}
    return load_matching(model, {place(name): tensor for name, tensor in {**tensors, **cut}.items()}, source)


def begun_as(
    tree: Tree,
    source: str,
    parse: Callable[[Tree, str], R],
    *,
    model: BertConfig | GPTConfig | RNNConfig,
    tokenizer: TokenizerConfig,
) -> R:
    """Returns the recipe ``tree`` with the sizes and the tokenizer of the trained model that it starts from.

    Dropout rates stay the recipe's, and ``max_seq_len`` where it says one: for shorter rows all weights are there, for
    longer ones too unless positions are learned.

    Args:
        tree: its ``start`` names the model.
        source: what to call it in errors.
        parse: builds the recipe of its task.
        model: of the trained model.
        tokenizer: of the trained model.

    Raises:
        UsageError: the recipe is wrong, or says another size or tokenizer.
    """
    own = {"model": _without_rates(as_tree(model)), "tokenizer": _without_rates(as_tree(tokenizer))}
    recipe = parse(merge(own, tree), source)
    sizes, wanted = with_rates(model, recipe.model), recipe.model.max_seq_len
    learned = isinstance(model, BertConfig | GPTConfig) and model.position == "learned"
    if wanted <= model.max_seq_len or not learned:
        sizes = replace(sizes, max_seq_len=wanted)
    differing = {
        **differences(as_tree(sizes), as_tree(recipe.model), "model."),
        **differences(_without_rates(as_tree(tokenizer)), _without_rates(as_tree(recipe.tokenizer)), "tokenizer."),
    }
    if differing:
        given = ", ".join(f"{key} = {ours!r}" for key, (_, ours) in differing.items())
        theirs = ", ".join(repr(has) for has, _ in differing.values())
        raise UsageError(
            f"{given}: start {recipe.start!r} has {theirs}, and its weights fit nothing else; leave the key out"
        )
    return recipe


def start_of(tree: Tree) -> str:
    """Returns what a recipe starts from, "" for random weights; a value that is no text is refused where it is read."""
    found = tree.get("start")
    return found if isinstance(found, str) else ""


def _without_rates(sizes: Tree) -> Tree:
    return with_keys(sizes, lambda key: not is_rate(key))


def with_rates(sizes: Any, rates: Any) -> Any:
    """Returns the model config ``sizes`` with what ``rates`` says of dropout and stochastic depth, in its block too."""
    kept = {}
    for field in fields(sizes):
        ours, theirs = getattr(sizes, field.name), getattr(rates, field.name)
        if is_rate(field.name):
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
