"""Where training starts from instead of random weights: another run, or a folder in Hugging Face's layout."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import nn

from clearhead.checkpoint import LoadReport, load_matching, model_tensors
from clearhead.config import Tree, as_tree, differences, merge
from clearhead.errors import ModelError, UsageError
from clearhead.interop.folder import is_folder, read_config
from clearhead.interop.spelling import Tensors
from clearhead.models.bert import BertConfig
from clearhead.models.gpt import GPTConfig
from clearhead.models.rnn import RNNConfig
from clearhead.nn.lora import LoraLinear
from clearhead.nn.position import LearnedPosition
from clearhead.runs.opened import SavedRun
from clearhead.runs.recipes import is_rate, with_keys
from clearhead.runs.text_parts import ModelSizes, TextParts
from clearhead.tasks.gradient_recipe import WarmRecipe
from clearhead.text.tokenizer import TokenizerConfig

if TYPE_CHECKING:
    from clearhead.tasks.family import LearnedFamily

R = TypeVar("R")
ModelConfig = BertConfig | GPTConfig | RNNConfig


@dataclass(frozen=True)
class Start:
    """A trained model that training begins with."""

    source: str
    """What to call it in errors."""
    config: ModelConfig
    """Its sizes."""
    parts: TextParts
    """What turns text into its ids."""
    tensors: Tensors
    """Its weights by name; LoRA is merged."""

    def recipe(self, tree: Tree, source: str, parse: Callable[[Tree, str], R]) -> R:
        """Returns the recipe ``tree`` with the sizes and the tokenizer of this model, see ``recipe_from``.

        Raises:
            UsageError: the two do not go together, such as a batch below the context.
        """
        recipe = recipe_from(tree, source, parse, model=self.config, tokenizer=self.parts.tokenizer.config)
        assert isinstance(recipe, WarmRecipe)
        try:
            recipe.check_started()
        except ValueError as error:
            raise UsageError(str(error)) from error
        return recipe

    def load_into(self, model: nn.Module, sizes: ModelSizes) -> LoadReport:
        """Copies the weights into ``model``, whose layers may be adapted; ``sizes`` are what it was built from.

        Raises:
            ModelError: a tensor does not fit.
        """
        return copy_weights(model, self.tensors, self.source)


def copy_weights(model: nn.Module, tensors: Tensors, source: str) -> LoadReport:
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


def recipe_from(
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
    begun = parse(merge(own, tree), source)
    recipe: Any = begun
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
    return begun


def start_of(tree: Tree) -> str:
    """Returns what a recipe starts from, "" for random weights; a value that is no text is refused where it is read."""
    start = tree.get("start")
    return start if isinstance(start, str) else ""


def _without_rates(sizes: Tree) -> Tree:
    return with_keys(sizes, lambda key: not is_rate(key))


def with_rates(sizes: Any, rates: Any) -> Any:
    """Returns the model config ``sizes`` with what ``rates`` says of dropout and stochastic depth, in its block too."""
    rates_kept = {}
    for field in fields(sizes):
        ours, theirs = getattr(sizes, field.name), getattr(rates, field.name)
        if is_rate(field.name):
            rates_kept[field.name] = theirs
        elif is_dataclass(ours):
            rates_kept[field.name] = with_rates(ours, theirs)
    return replace(sizes, **rates_kept)


def open_start(path: Path, family: "LearnedFamily[Any, Any, Any, Any]", task: str) -> Start:
    """Opens what ``--from`` names, for a training of the same family.

    Args:
        path: a run, or a folder in Hugging Face's layout.
        family: of the recipe that starts there.
        task: of that recipe.

    Raises:
        ModelError: it is neither, is of another family, has no checkpoint, or cannot be read.
    """
    if is_bare_folder(path):
        imported = family.read_folder(path, read_config(path))
        if imported.recipe.task != task:
            theirs = imported.recipe.task
            raise ModelError(f"start = {str(path)!r}: a model of the task {task} is needed, not {theirs!r}")
        return Start(str(path), imported.recipe.model, imported.parts, imported.tensors)
    run = SavedRun.open(path)
    if run.task != task:
        raise ModelError(f"start = {str(path)!r}: a run of the task {task} is needed, not {run.task!r}")
    recipe, parts = family.parse(run.tree, run.source), family.parts(run.trained_path)
    model = family.build(recipe, parts.sizes)
    run.load_into(model)
    return Start(f"run {str(path)!r}", recipe.model, parts, model_tensors(model))


def is_bare_folder(path: Path) -> bool:
    """Says whether ``path`` is a folder in Hugging Face's layout, and no run."""
    return is_folder(path) and not (path / "recipe.toml").exists()
