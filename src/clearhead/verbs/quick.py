"""Opens a run in the quickest way: its packed weights without PyTorch, where these can do all that is asked."""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from clearhead.engine.library import fault
from clearhead.engine.weights.file import ModelFile, is_model_file, open_model
from clearhead.errors import ClearheadError, ModelError, UsageError
from clearhead.runs.recipes import load_recipe
from clearhead.tasks.packed import kept

if TYPE_CHECKING:
    from clearhead.engine.choose import EngineName, Weights
    from clearhead.tasks.classify.classifier import Classifier
    from clearhead.tasks.classify.packed import PackedClassifier
    from clearhead.tasks.language_model.writer import TextModel
    from clearhead.tasks.masked.model import MaskedModel
    from clearhead.tasks.masked.packed import PackedMaskedModel
    from clearhead.tasks.translation.packed import PackedTranslator
    from clearhead.tasks.translation.translator import Translator

ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd")
"""What is there on a machine where PyTorch may find a GPU."""


class Where(TypedDict):
    """How a run is opened; see ``Translator.load``.

    A file of ``export --to file`` holds weights in its own way, and one of float32 weights becomes a run where more is
    asked for, see ``tasks.expanded``.
    """

    checkpoint: str
    device: str
    weights: "Weights"
    engine: "EngineName"


def open_translator(
    run: Path, *, looks_inside: bool = False, shortlist: bool = False, **where: Unpack[Where]
) -> "Translator | PackedTranslator":
    """Opens a translator, without PyTorch if it can.

    Args:
        run: a run directory, or a file of ``export --to file``.
        looks_inside: whether more is asked for than translations: alternatives, or attention.
        shortlist: see ``Translator.load``.
        where: how it is opened.

    Raises:
        ModelError: see ``Translator.load``.
        UsageError: likewise.
    """
    if not looks_inside and (file := _file_for("translation", run, where)):
        from clearhead.tasks.translation.packed import PackedTranslator

        return PackedTranslator.of(file, run=None if file.path == run else run, shortlist=shortlist)
    check_torch(run)
    from clearhead.tasks.translation.translator import Translator

    return Translator.load(run, **where, shortlist=shortlist)


def open_language_model(run: Path, *, drafted: bool = False, **where: Unpack[Where]) -> "TextModel":
    """Opens a language model of any kind, without PyTorch if it can; see ``open_translator``.

    ``drafted`` says that it is to have a draft, whose steps are PyTorch's, so that a run may as well be loaded by it.
    """
    if (not drafted or is_model_file(run)) and (file := _file_for("language_model", run, where)):
        from clearhead.tasks.language_model.packed import PackedLanguageModel

        return PackedLanguageModel.of(file)
    check_torch(run)
    from clearhead.verbs.load import load_language_model

    return load_language_model(run, **where)


def open_masked_model(run: Path, **where: Unpack[Where]) -> "MaskedModel | PackedMaskedModel":
    """Opens a masked language model, without PyTorch if it can; see ``open_translator``."""
    if file := _file_for("masked", run, where):
        from clearhead.tasks.masked.packed import PackedMaskedModel

        return PackedMaskedModel.of(file)
    check_torch(run)
    from clearhead.tasks.masked.model import MaskedModel

    return MaskedModel.load(run, **where)


def open_classifier(run: Path, **where: Unpack[Where]) -> "Classifier | PackedClassifier":
    """Opens a classifier, without PyTorch if it can; see ``open_translator``."""
    if file := _file_for("classify", run, where):
        from clearhead.tasks.classify.packed import PackedClassifier

        return PackedClassifier.of(file)
    check_torch(run)
    from clearhead.tasks.classify.classifier import Classifier

    return Classifier.load(run, **where)


def open_file(path: Path, *, device: str = "auto") -> Any:
    """Opens a file whatever it is for, without PyTorch, as ``PackedTranslator`` or its like.

    Raises:
        ModelError: the file is damaged, or the native engine does not compute here.
        UsageError: ``device`` is not a CPU.
    """
    from clearhead.tasks.classify.packed import PackedClassifier
    from clearhead.tasks.language_model.packed import PackedLanguageModel
    from clearhead.tasks.masked.packed import PackedMaskedModel
    from clearhead.tasks.translation.packed import PackedTranslator

    file = open_model(path)
    if why := _unfit(file, {"checkpoint": "best", "device": device, "weights": "float32", "engine": "auto"}):
        raise why
    kinds: tuple[Any, ...] = (PackedTranslator, PackedLanguageModel, PackedMaskedModel, PackedClassifier)
    for kind in kinds:
        if kind.task == file.about["task"]:
            return kind.of(file)
    raise ModelError(f"{str(path)!r} is a model for {file.about['task']}, which this version does not know")


def packed_file(run: Path, **where: Unpack[Where]) -> ModelFile | None:
    """Returns the packed weights of a run or file, or None where PyTorch has to compute.

    Raises:
        ModelError: a file is damaged, or the native engine does not compute here.
        UsageError: a file is asked for what it cannot do: one of float32 weights becomes a run for that.
    """
    if is_model_file(run):
        file = open_model(run)
        why = _unfit(file, where)
        if why and (file.weights != "float32" or not has_torch()):
            raise why
        return None if why else file
    device, weights, engine = where["device"], where["weights"], where["engine"]
    if engine == "torch" or not (device == "cpu" or (device == "auto" and not _may_have_gpu())):
        return None
    return kept(run, where["checkpoint"], weights)


def _file_for(task: str, run: Path, where: Where) -> ModelFile | None:
    """See ``packed_file``; leaves the kept weights of a run for another task, which is told its verb, to PyTorch."""
    file = packed_file(run, **where)
    return file if file is None or file.about["task"] == task or file.path == run else None


def has_torch() -> bool:
    """Whether PyTorch is installed; it is not loaded to find out."""
    return importlib.util.find_spec("torch") is not None


def _unfit(file: ModelFile, where: Where) -> ClearheadError | None:
    """Returns why the packed weights of a file do not do what is asked; None where they do."""
    device, weights, engine, name = where["device"], where["weights"], where["engine"], str(file.path)
    if engine == "torch" or device not in ("auto", "cpu"):
        asked = "engine = 'torch'" if engine == "torch" else f"device = {device!r}"
        return UsageError(f"{asked}: {name!r} holds {file.weights} weights of the native engine, for a CPU")
    if reason := fault():
        return ModelError(f"{name!r} is for the native engine: {reason}")
    if weights not in ("float32", file.weights):  # float32 is what nobody has asked for
        return UsageError(f"weights = {weights!r}: {name!r} holds {file.weights}")
    return None


def check_torch(run: Path) -> None:
    """Checks that a run that has to be loaded by PyTorch can be.

    Raises:
        ModelError: PyTorch is not installed, or ``run`` is not a run.
    """
    if has_torch():
        return
    if is_model_file(run):
        raise ModelError(f"{str(run)!r}: this takes PyTorch, which is not installed")
    load_recipe(run)
    raise ModelError(
        f"run {str(run)!r} takes PyTorch, which is not installed; where it is, `clearhead export RUN --to file` "
        "writes a file that does not"
    )


def _may_have_gpu() -> bool:
    return sys.platform == "darwin" or any(Path(name).exists() for name in ACCELERATORS)
