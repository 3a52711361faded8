"""clearhead: from raw text to a trained, understood and shipped Transformer.

    >>> import clearhead
    >>> result = clearhead.train("translate-tiny", data="DIR", overrides=["src=zh", "tgt=en"])
    >>> clearhead.load(result.run, task="translation").translate("我吃了一个苹果。").text

Names are loaded when first used, so that importing the package loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from clearhead.version import VERSION

if TYPE_CHECKING:
    from clearhead import inspect, types
    from clearhead.decode.hypotheses import SearchConfig
    from clearhead.engine.loops.sampling import SamplingConfig
    from clearhead.errors import ClearheadError, DataError, ModelError, SettingError, UsageError
    from clearhead.lessons.page import lesson
    from clearhead.tasks.classify.classifier import Classifier, ClassifierEvaluation
    from clearhead.tasks.classify.texts import Classification
    from clearhead.tasks.language_model.neural import LanguageModel
    from clearhead.tasks.language_model.ngram import NgramLanguageModel
    from clearhead.tasks.language_model.prompts import Generation, GenerationConfig
    from clearhead.tasks.masked.model import MaskedModel
    from clearhead.tasks.masked.texts import Candidate, Filled
    from clearhead.tasks.translation.result import Translation
    from clearhead.tasks.translation.translator import Trace, Translator
    from clearhead.training.writers import Writer
    from clearhead.verbs.exports.run import Certify, export_all, export_run
    from clearhead.verbs.exports.verify import verify_folder
    from clearhead.verbs.load import load
    from clearhead.verbs.pipelines import pipeline
    from clearhead.verbs.train import TrainResult, train

__version__ = VERSION

__all__ = [
    "Candidate",
    "Certify",
    "Classification",
    "Classifier",
    "ClassifierEvaluation",
    "ClearheadError",
    "DataError",
    "Filled",
    "Generation",
    "GenerationConfig",
    "LanguageModel",
    "MaskedModel",
    "ModelError",
    "NgramLanguageModel",
    "SamplingConfig",
    "SearchConfig",
    "SettingError",
    "Trace",
    "TrainResult",
    "Translation",
    "Translator",
    "UsageError",
    "Writer",
    "__version__",
    "export_all",
    "export_run",
    "inspect",
    "lesson",
    "load",
    "pipeline",
    "train",
    "types",
    "verify_folder",
]

_HOMES = {
    "Writer": "clearhead.training.writers",
    "SettingError": "clearhead.errors",
    "SearchConfig": "clearhead.decode.hypotheses",
    "NgramLanguageModel": "clearhead.tasks.language_model.ngram",
    "Candidate": "clearhead.tasks.masked.texts",
    "ClearheadError": "clearhead.errors",
    "DataError": "clearhead.errors",
    "ModelError": "clearhead.errors",
    "UsageError": "clearhead.errors",
    "SamplingConfig": "clearhead.engine.loops.sampling",
    "Classification": "clearhead.tasks.classify.texts",
    "Classifier": "clearhead.tasks.classify.classifier",
    "ClassifierEvaluation": "clearhead.tasks.classify.classifier",
    "Generation": "clearhead.tasks.language_model.prompts",
    "GenerationConfig": "clearhead.tasks.language_model.prompts",
    "LanguageModel": "clearhead.tasks.language_model.neural",
    "Filled": "clearhead.tasks.masked.texts",
    "MaskedModel": "clearhead.tasks.masked.model",
    "Trace": "clearhead.tasks.translation.translator",
    "Translation": "clearhead.tasks.translation.result",
    "Translator": "clearhead.tasks.translation.translator",
    "TrainResult": "clearhead.verbs.train",
    "train": "clearhead.verbs.train",
    "Certify": "clearhead.verbs.exports.run",
    "export_all": "clearhead.verbs.exports.run",
    "export_run": "clearhead.verbs.exports.run",
    "verify_folder": "clearhead.verbs.exports.verify",
    "lesson": "clearhead.lessons.page",
    "load": "clearhead.verbs.load",
    "pipeline": "clearhead.verbs.pipelines",
}


def __getattr__(name: str) -> Any:
    if name in ("inspect", "types"):  # which users reach through this one, as clearhead.inspect.model(...)
        return importlib.import_module(f"clearhead.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'clearhead' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
