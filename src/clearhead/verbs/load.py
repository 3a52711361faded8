"""Loads a trained run by its path."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.errors import UsageError
from clearhead.runs.opened import SavedRun
from clearhead.tasks.catalog import family_of_run
from clearhead.tasks.family import open_for

if TYPE_CHECKING:
    from clearhead.engine.choose import Weights
    from clearhead.tasks.language_model.neural import LanguageModel
    from clearhead.tasks.language_model.ngram import NgramLanguageModel


def load(run: str | Path, *, checkpoint: str = "best", device: str = "auto") -> Any:
    """Loads a trained run.

    What it returns depends on the task of its recipe: a ``Translator``, a ``LanguageModel`` or ``NgramLanguageModel``,
    a ``MaskedModel``, or a ``Classifier``.

    Args:
        run: the run directory.
        checkpoint: best, latest, or the name of one; an n-gram model has none.
        device: auto, cpu, cuda, cuda:1 or mps; an n-gram model needs none.

    Raises:
        ModelError: not a run, no checkpoint yet, or a damaged one.
    """
    opened = SavedRun.open(Path(run), checkpoint=checkpoint)
    return family_of_run(opened).load(opened, device=device)


def load_language_model(
    run: Path, *, checkpoint: str = "best", device: str = "auto", weights: "Weights" = "float32"
) -> "LanguageModel | NgramLanguageModel":
    """Loads the run of a language model of any kind; arguments as in ``LanguageModel.load``.

    Raises:
        ModelError: see ``load``.
        UsageError: ``weights`` of a kind that the model does not have.
    """
    from clearhead.tasks.language_model.neural import LanguageModel
    from clearhead.tasks.language_model.ngram import NGRAM_WORDS, NgramLanguageModel
    from clearhead.tasks.language_model.recipe import WORDS

    opened = open_for((*WORDS, *NGRAM_WORDS), run, checkpoint=checkpoint)
    if opened.task not in NGRAM_WORDS:
        return LanguageModel.from_run(opened, device=device, weights=weights)
    if weights != "float32":
        raise UsageError(f"weights = {weights!r}: an n-gram model has counts and no weights")
    return NgramLanguageModel.from_run(opened)
