"""clearhead: from raw text to a trained, understood and shipped Transformer.

    >>> import clearhead
    >>> result = clearhead.train("translate-tiny", data="DIR", overrides=["src=zh", "tgt=en"])
    >>> clearhead.load(result.run).translate(["我吃了一个苹果。"])[0].text

Names are loaded when first used, so that importing the package loads no torch.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from clearhead.version import VERSION

if TYPE_CHECKING:
    from clearhead import inspect
    from clearhead.decode.sampling import SamplingConfig
    from clearhead.errors import ClearheadError, DataError, ModelError, UsageError
    from clearhead.tasks.classifier import Classification, Classifier, ClassifierEvaluation
    from clearhead.tasks.generation import Generation, GenerationConfig
    from clearhead.tasks.generator import LanguageModel
    from clearhead.tasks.masked_model import Filled, MaskedModel
    from clearhead.tasks.pipeline import load, pipeline
    from clearhead.tasks.training import TrainResult, train
    from clearhead.tasks.translator import Trace, Translation, Translator

__version__ = VERSION

__all__ = [
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
    "SamplingConfig",
    "Trace",
    "TrainResult",
    "Translation",
    "Translator",
    "UsageError",
    "__version__",
    "inspect",
    "load",
    "pipeline",
    "train",
]

_HOMES = {
    "ClearheadError": "clearhead.errors",
    "DataError": "clearhead.errors",
    "ModelError": "clearhead.errors",
    "UsageError": "clearhead.errors",
    "SamplingConfig": "clearhead.decode.sampling",
    "Classification": "clearhead.tasks.classifier",
    "Classifier": "clearhead.tasks.classifier",
    "ClassifierEvaluation": "clearhead.tasks.classifier",
    "Generation": "clearhead.tasks.generation",
    "GenerationConfig": "clearhead.tasks.generation",
    "LanguageModel": "clearhead.tasks.generator",
    "Filled": "clearhead.tasks.masked_model",
    "MaskedModel": "clearhead.tasks.masked_model",
    "Trace": "clearhead.tasks.translator",
    "Translation": "clearhead.tasks.translator",
    "Translator": "clearhead.tasks.translator",
    "TrainResult": "clearhead.tasks.training",
    "train": "clearhead.tasks.training",
    "load": "clearhead.tasks.pipeline",
    "pipeline": "clearhead.tasks.pipeline",
}


class _Package(types.ModuleType):
    """Keeps ``clearhead.train`` the function: Python would bind the package of that name when it is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "train" or not isinstance(value, types.ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name == "inspect":  # a package that users reach through this one, as clearhead.inspect.model(...)
        return importlib.import_module("clearhead.inspect")
    if name not in _HOMES:
        raise AttributeError(f"module 'clearhead' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
