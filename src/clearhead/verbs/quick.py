"""Opens a run in the quickest way: its packed weights without PyTorch, where these can do all that is asked."""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from clearhead.engine.library import fault
from clearhead.engine.weights.file import ModelFile, is_model_file, open_model
from clearhead.errors import ModelError, UsageError
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
    """How a run is opened; see ``Translator.load``. A file of ``export --to file`` holds weights in its own way."""

    checkpoint: str
    device: str
    weights: "Weights"
    engine: "EngineName"


def open_translator(
    run: Path, *, looks_inside: bool = False, **where: Unpack[Where]
) -> "Translator | PackedTranslator":
    """Opens a translator, without PyTorch if it can.

    Args:
        run: a run directory, or a file of ``export --to file``.
        looks_inside: whether more is asked for than translations: alternatives, or attention.
        where: how it is opened.

    Raises:
        ModelError: see ``Translator.load``.
        UsageError: likewise.
    """
    if looks_inside and is_model_file(run):
        raise UsageError(f"{str(run)!r}: alternatives and alignment are PyTorch's to show; name the run itself")
    if not looks_inside and (file := _file_for("translation", run, where)):
        from clearhead.tasks.translation.packed import PackedTranslator

        return PackedTranslator.of(file)
    check_torch(run)
    from clearhead.tasks.translation.translator import Translator

    return Translator.load(run, **where)


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


def packed_file(run: Path, **where: Unpack[Where]) -> ModelFile | None:
    """Returns the packed weights of a run or file, or None where PyTorch has to compute.

    Raises:
        ModelError: a file is damaged, or the native engine does not compute here.
        UsageError: a file is asked for what it cannot do.
    """
    device, weights, engine = where["device"], where["weights"], where["engine"]
    if is_model_file(run):
        if engine == "torch" or device not in ("auto", "cpu"):
            asked = "engine = 'torch'" if engine == "torch" else f"device = {device!r}"
            raise UsageError(f"{asked}: {str(run)!r} holds weights of the native engine, for a CPU")
        if reason := fault():
            raise ModelError(f"{str(run)!r} is for the native engine: {reason}")
        file = open_model(run)
        if weights not in ("float32", file.weights):  # float32 is what nobody has asked for
            raise UsageError(f"weights = {weights!r}: {str(run)!r} holds {file.weights}")
        return file
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


def check_torch(run: Path) -> None:
    """Checks that a run that has to be loaded by PyTorch can be.

    Raises:
        ModelError: PyTorch is not installed, or ``run`` is not a run.
    """
    if not has_torch():
        load_recipe(run)
        raise ModelError(
            f"run {str(run)!r} takes PyTorch, which is not installed; where it is, `clearhead export RUN --to file` "
            "writes a file that does not"
        )


def _may_have_gpu() -> bool:
    return sys.platform == "darwin" or any(Path(name).exists() for name in ACCELERATORS)
