"""Loads a trained run by its path."""

from pathlib import Path

from clearhead.engine.choose import Weights
from clearhead.errors import UsageError
from clearhead.runs.recipes import VERBS, load_recipe
from clearhead.tasks.catalog import task_of
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.ngram import NgramLanguageModel
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.translation.translator import Translator


def load(
    run: str | Path, *, checkpoint: str = "best", device: str = "auto"
) -> Translator | LanguageModel | NgramLanguageModel | MaskedModel | Classifier:
    """Loads a trained run: what it is depends on the task of its recipe.

    Args:
        run: the run directory.
        checkpoint: best, latest, or the name of one; an n-gram model has none.
        device: auto, cpu, cuda, cuda:1 or mps; an n-gram model needs none.

    Raises:
        ModelError: not a run, no checkpoint yet, or a damaged one.
    """
    path = Path(run)
    match VERBS[task_of(load_recipe(path), f"recipe of run {str(path)!r}")]:
        case "generate":
            return load_language_model(path, checkpoint=checkpoint, device=device)
        case "fill":
            return MaskedModel.load(path, checkpoint=checkpoint, device=device)
        case "classify":
            return Classifier.load(path, checkpoint=checkpoint, device=device)
        case _:
            return Translator.load(path, checkpoint=checkpoint, device=device)


def load_language_model(
    run: Path, *, checkpoint: str = "best", device: str = "auto", weights: Weights = "float32"
) -> LanguageModel | NgramLanguageModel:
    """Loads the run of a language model of any kind; arguments as in ``LanguageModel.load``.

    Raises:
        ModelError: see ``load``.
        UsageError: ``weights`` of a kind that the model does not have.
    """
    if task_of(load_recipe(run), f"recipe of run {str(run)!r}") != "ngram":
        return LanguageModel.load(run, checkpoint=checkpoint, device=device, weights=weights)
    if weights != "float32":
        raise UsageError(f"weights = {weights!r}: an n-gram model has counts and no weights")
    return NgramLanguageModel.load(run)
