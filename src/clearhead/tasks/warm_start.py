"""Where training starts from instead of random weights: another run, or a folder in Hugging Face's layout."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
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
from clearhead.models.transformer import TransformerConfig
from clearhead.nn.lora import LoraLinear
from clearhead.nn.position import LearnedPosition
from clearhead.runs.recipes import is_rate, with_keys
from clearhead.runs.text_parts import ModelSizes, TextParts
from clearhead.tasks.expanded import open_run
from clearhead.tasks.gradient_recipe import WarmRecipe
from clearhead.tasks.room import build_to_load
from clearhead.text.tokenizer import TokenizerConfig

if TYPE_CHECKING:
    from clearhead.tasks.family import LearnedFamily

R = TypeVar("R")
ModelConfig = BertConfig | GPTConfig | RNNConfig | TransformerConfig


@dataclass(frozen=True)
class Start:
    """The trained model that training begins with."""

    source: str
    """What to call it in errors."""
    config: ModelConfig
    """Its sizes."""
    parts: TextParts
    """Its tokenizer and labels."""
    tensors: Tensors
    """Its weights by name, with LoRA merged into them."""
    inherited: Tree = field(default_factory=dict, kw_only=True)
    """Further keys of its recipe, which the new one takes over unless it sets its own."""

    def recipe(self, tree: Tree, source: str, parse: Callable[[Tree, str], R]) -> R:
        """Returns the recipe ``tree`` with the sizes and the tokenizer of this model, see ``recipe_from``.

        Raises:
            UsageError: the recipe does not fit the model, such as a batch smaller than the context.
        """
        tree = merge(self.inherited, tree)
        recipe = recipe_from(tree, source, parse, model=self.config, tokenizer=self.parts.tokenizer.config)
        assert isinstance(recipe, WarmRecipe)
        try:
            recipe.check_started()
        except ValueError as error:
            raise UsageError(str(error)) from error
        return recipe

    def load_into(self, model: nn.Module, sizes: ModelSizes) -> LoadReport:
        """Copies the weights into ``model``, whose layers may have LoRA; ``sizes`` are those it was built with.

        Raises:
            ModelError: a tensor does not fit.
        """
        return copy_weights(model, self.tensors, self.source)


def copy_weights(model: nn.Module, tensors: Tensors, source: str) -> LoadReport:
    """Copies ``tensors`` into ``model``, whose layers may have LoRA; raises ModelError if one does not fit.

    If ``model`` has fewer learned positions than the tensors, it gets the first of them.
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
    model: ModelConfig,
    tokenizer: TokenizerConfig,
) -> R:
    """Returns the recipe ``tree`` with the sizes and the tokenizer of the trained model that it starts from.

    The recipe keeps its dropout rates, and its ``max_seq_len`` if it has one: it may always be shorter than the
    model's, and longer unless positions are learned.

    Args:
        tree: the recipe, whose ``start`` names the model.
        source: what to call it in errors.
        parse: builds the recipe of its task.
        model: config of the trained model.
        tokenizer: config of its tokenizer.

    Raises:
        UsageError: the recipe is wrong, or sets another size or tokenizer.
    """
    inherited = {"model": _without_rates(as_tree(model)), "tokenizer": _without_rates(as_tree(tokenizer))}
    parsed = parse(merge(inherited, tree), source)
    recipe: Any = parsed
    sizes, wanted = with_rates(model, recipe.model), recipe.model.max_seq_len
    learned = isinstance(model, BertConfig | GPTConfig | TransformerConfig) and model.position == "learned"
    if wanted <= model.max_seq_len or not learned:
        sizes = replace(sizes, max_seq_len=wanted)
    differing = {
        **differences(as_tree(sizes), as_tree(recipe.model), "model."),
        **differences(_without_rates(as_tree(tokenizer)), _without_rates(as_tree(recipe.tokenizer)), "tokenizer."),
    }
    if differing:
        asked = ", ".join(f"{key} = {value!r}" for key, (_, value) in differing.items())
        theirs = ", ".join(repr(value) for value, _ in differing.values())
        raise UsageError(
            f"{asked}: start {recipe.start!r} has {theirs}, and its weights fit nothing else; leave the key out"
        )
    return parsed


def start_of(tree: Tree) -> str:
    """Returns the ``start`` of a recipe, "" for none; a value of another type counts as none, ``parse`` refuses it."""
    start = tree.get("start")
    return start if isinstance(start, str) else ""


def _without_rates(sizes: Tree) -> Tree:
    return with_keys(sizes, lambda key: not is_rate(key))


def with_rates(sizes: Any, rates: Any) -> Any:
    """Returns the model config ``sizes`` with the dropout and stochastic depth rates of the config ``rates``."""
    rates_kept = {}
    for key in fields(sizes):
        ours, theirs = getattr(sizes, key.name), getattr(rates, key.name)
        if is_rate(key.name):
            rates_kept[key.name] = theirs
        elif is_dataclass(ours):
            rates_kept[key.name] = with_rates(ours, theirs)
    return replace(sizes, **rates_kept)


def open_start(path: Path, family: "LearnedFamily[Any, Any, Any, Any]", tree: Tree) -> Start:
    """Opens the model that ``--from`` names, to train it further for the same task.

    Args:
        path: a run, or a folder in Hugging Face's layout.
        family: family of the new recipe.
        tree: the new recipe; its languages are those of a translator in a folder that does not say them.

    Raises:
        ModelError: ``path`` is neither, its model has another task, it has no checkpoint, or it cannot be read.
    """
    task = str(tree.get("task", family.words[0]))
    if is_bare_folder(path):
        languages = {side: str(tree.get(side) or "") for side in ("src", "tgt")}
        imported = family.read_folder(path, read_config(path), **languages)
        if imported.recipe.task != task:
            theirs = imported.recipe.task
            raise ModelError(f"start = {str(path)!r}: a model of the task {task} is needed, not {theirs!r}")
        inherited = imported.recipe.inherited()
        return Start(str(path), imported.recipe.model, imported.parts, imported.tensors, inherited=inherited)
    run = open_run(path)
    if run.task != task:
        raise ModelError(f"start = {str(path)!r}: a run of the task {task} is needed, not {run.task!r}")
    recipe, parts = family.parse(run.tree, run.source), family.parts(run.trained_path)
    model = build_to_load(family.build, recipe, parts.sizes)
    run.load_into(model)
    return Start(f"run {str(path)!r}", recipe.model, parts, model_tensors(model), inherited=recipe.inherited())


def is_bare_folder(path: Path) -> bool:
    """Says whether ``path`` is a folder in Hugging Face's layout and not a run."""
    return is_folder(path) and not (path / "recipe.toml").exists()
