"""A classifier whose weights are mapped from a file, as the native engine packs them; no torch."""

import json
from dataclasses import dataclass

from clearhead.config import rebuilt
from clearhead.data.labels.labels import Labels
from clearhead.engine.weights.file import ModelFile
from clearhead.runs.text_parts import LABELS
from clearhead.tasks.classify.texts import Reading, TextClassifier
from clearhead.tasks.native import PackedModel
from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class PackedClassifier(PackedModel, TextClassifier):
    """Classifies as ``Classifier`` does, without PyTorch."""

    tokenizer: Tokenizer
    labels: Labels
    how: Reading
    task = "classify"

    @classmethod
    def of(cls, file: ModelFile) -> "PackedClassifier":
        """Returns the classifier of a file; raises ModelError for a file of another kind of model."""
        shared, texts = cls._shared(file), file.files
        labels = rebuilt(Labels, json.loads(texts[LABELS]))
        return cls(
            *shared, Tokenizer.restored(texts["tokenizer/text.json"]), labels, rebuilt(Reading, file.about["reading"])
        )

    @property
    def _reading(self) -> Reading:
        """See ``TextClassifier``."""
        return self.how
