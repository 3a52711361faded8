"""Loads the model of a trained run, given the path of the run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from clearhead.arguments import checked
from clearhead.engine.weights.file import is_model_file, open_model
from clearhead.errors import ModelError, UsageError
from clearhead.tasks.catalog import family_of_run
from clearhead.tasks.expanded import open_run
from clearhead.tasks.family import Task, check_task, open_for
from clearhead.training.device import Device
from clearhead.verbs.quick import open_file

if TYPE_CHECKING:
    from clearhead.engine.choose import EngineName, Weights
    from clearhead.tasks.classify.classifier import Classifier
    from clearhead.tasks.language_model.neural import LanguageModel
    from clearhead.tasks.language_model.ngram import NgramLanguageModel
    from clearhead.tasks.masked.model import MaskedModel
    from clearhead.tasks.translation.translator import Translator

PipelineTask = Literal["translation", "text-generation", "fill-mask", "text-classification"]
"""What a run is for, in Hugging Face's words."""
TASKS: dict[PipelineTask, tuple[Task, ...]] = {
    "translation": ("translation", "rnn_translation"),
    "text-generation": ("language_model", "rnn_language_model", "ngram"),
    "fill-mask": ("masked",),
    "text-classification": ("classify",),
}
"""The tasks of recipes whose runs each word stands for."""


@overload
def load(
    run: str | Path, *, task: Literal["translation"], checkpoint: str = "best", device: Device = "auto"
) -> "Translator": ...


@overload
def load(
    run: str | Path, *, task: Literal["text-generation"], checkpoint: str = "best", device: Device = "auto"
) -> "LanguageModel | NgramLanguageModel": ...


@overload
def load(
    run: str | Path, *, task: Literal["fill-mask"], checkpoint: str = "best", device: Device = "auto"
) -> "MaskedModel": ...


@overload
def load(
    run: str | Path, *, task: Literal["text-classification"], checkpoint: str = "best", device: Device = "auto"
) -> "Classifier": ...


@overload
def load(run: str | Path, *, task: None = None, checkpoint: str = "best", device: Device = "auto") -> Any: ...


@checked
def load(
    run: str | Path, *, task: PipelineTask | None = None, checkpoint: str = "best", device: Device = "auto"
) -> Any:
    """Loads the model of a trained run.

    The type of the result depends on the task of the run: a ``Translator``, a ``LanguageModel`` or
    ``NgramLanguageModel``, a ``MaskedModel``, or a ``Classifier``.

    A file of ``export --to file`` is as good as its run if it holds float32 weights. One of rounded weights gives what
    computes with them: the same methods for texts, without PyTorch's ``model``.

    Args:
        run: the run directory, or such a file.
        task: what the run must be for, in the words of ``pipeline``. A type checker then knows what is returned.
        checkpoint: best, latest, or the name of a checkpoint; ignored for an n-gram model, which has none.
        device: auto, cpu, cuda, cuda:1 or mps; ignored for an n-gram model.

    Raises:
        UsageError: an argument is wrong.
        ModelError: ``run`` is not a run, has no checkpoint yet, has a damaged one, or is for another task.
    """
    if is_model_file(Path(run)) and open_model(Path(run)).weights != "float32":
        return _packed(Path(run), task, str(device))
    opened = open_run(Path(run), checkpoint=checkpoint)
    if task is not None:
        check_task(opened, TASKS[task])
    return family_of_run(opened).load(opened, device=device)


def _packed(path: Path, task: PipelineTask | None, device: str) -> Any:
    """Opens a file of rounded weights."""
    model = open_file(path, device=device)
    if task is not None and model.task not in TASKS[task]:
        raise ModelError(f"{str(path)!r} is a model for {model.task}, not for {TASKS[task][0]}")
    return model


def load_language_model(
    run: str | Path,
    *,
    checkpoint: str = "best",
    device: Device = "auto",
    weights: "Weights" = "float32",
    engine: "EngineName" = "auto",
) -> "LanguageModel | NgramLanguageModel":
    """Loads a neural or an n-gram language model; arguments as in ``LanguageModel.load``.

    Raises:
        ModelError: see ``load``.
        UsageError: the model cannot have ``weights`` or ``engine`` of this kind.
    """
    from clearhead.tasks.language_model.neural import LanguageModel
    from clearhead.tasks.language_model.ngram import NGRAM_WORDS, NgramLanguageModel
    from clearhead.tasks.language_model.recipe import WORDS

    opened = open_for((*WORDS, *NGRAM_WORDS), run, checkpoint=checkpoint)
    if opened.task not in NGRAM_WORDS:
        return LanguageModel.from_run(opened, device=device, weights=weights, engine=engine)
    if weights != "float32":
        raise UsageError(f"weights = {weights!r}: an n-gram model has counts and no weights")
    if engine == "native":
        raise UsageError("engine = 'native': an n-gram model has counts and no weights")
    return NgramLanguageModel.from_run(opened)
