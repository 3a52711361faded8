"""Loads the model of a trained run, given the path of the run."""

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
    """Loads the model of a trained run.

    The type of the result depends on the task of the run: a ``Translator``, a ``LanguageModel`` or
    ``NgramLanguageModel``, a ``MaskedModel``, or a ``Classifier``.

    Args:
        run: the run directory.
        checkpoint: best, latest, or the name of a checkpoint; ignored for an n-gram model, which has none.
        device: auto, cpu, cuda, cuda:1 or mps; ignored for an n-gram model.

    Raises:
        ModelError: ``run`` is not a run, has no checkpoint yet, or has a damaged one.
    """
    opened = SavedRun.open(Path(run), checkpoint=checkpoint)
    return family_of_run(opened).load(opened, device=device)


def load_language_model(
    run: Path, *, checkpoint: str = "best", device: str = "auto", weights: "Weights" = "float32"
) -> "LanguageModel | NgramLanguageModel":
    """Loads a neural or an n-gram language model; arguments as in ``LanguageModel.load``.

    Raises:
        ModelError: see ``load``.
        UsageError: the model cannot have ``weights`` of this kind.
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
