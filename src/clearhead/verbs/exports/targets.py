"""Where a model can be exported to, by its recipe alone: the list before training, and what an export asks first."""

from collections.abc import Callable, Mapping
from typing import Any

from clearhead.config import Tree
from clearhead.errors import ModelError
from clearhead.export.ctranslate2 import check_ctranslate2
from clearhead.export.file import check_file
from clearhead.export.gguf import check_gguf
from clearhead.export.onnx.write import check_onnx
from clearhead.runs.recipes import Refusals
from clearhead.tasks.catalog import AnyFamily, family_of_recipe
from clearhead.tasks.family import LearnedFamily
from clearhead.tasks.own import check_ours
from clearhead.verbs.exports.formats import Target

Check = Callable[[AnyFamily, Any], None]
"""(family, recipe) -> nothing, or a ModelError with the key of the recipe that the target forbids."""

TARGETS: Mapping[Target, Check] = {
    "hf": lambda family, recipe: family.check_hugging_face(recipe),
    "onnx": lambda family, recipe: check_onnx(
        recipe.model, recipe.tokenizer.kind if family.tag == "fill-mask" else None
    ),
    "ctranslate2": lambda family, recipe: check_ctranslate2(recipe.model),
    "gguf": lambda family, recipe: check_gguf(recipe.model, recipe.tokenizer),
    "file": lambda family, recipe: check_file(recipe.model),
}


def check_target(target: Target, family: AnyFamily, recipe: Any) -> None:
    """Raises ModelError, with the key, if a run of ``recipe`` cannot be exported to ``target``."""
    check_ours(recipe)
    if target != "file" and (tags := recipe.tokenizer.tags):
        raise ModelError(
            f"tokenizer.tags = {list(tags)}: a source begins with the tag of a language, which only --to file keeps"
        )
    if target != "onnx" and (setting := family.kept_by_onnx_alone(recipe)):
        raise ModelError(f"{setting}: of all formats only --to onnx keeps it")
    TARGETS[target](family, recipe)


def refusals(family: AnyFamily, recipe: Any) -> Refusals:
    """Returns for each target why a run of ``recipe`` cannot be exported to it; None if it can."""
    reasons: Refusals = {}
    for target in TARGETS:
        try:
            check_target(target, family, recipe)
            reasons[target] = None
        except ModelError as error:
            reasons[target] = str(error)
    return reasons


def refusals_of(tree: Tree, source: str) -> Refusals | None:
    """Returns ``refusals`` of a recipe as it is written; None if the run that it begins with gives its sizes.

    Raises:
        UsageError: the recipe is wrong.
    """
    family = family_of_recipe(tree, source)
    if family.warm and "d_model" not in tree.get("model", {}):
        return None
    recipe: Any = family.sketch(tree, source) if isinstance(family, LearnedFamily) else family.parse(tree, source)
    return refusals(family, recipe)
