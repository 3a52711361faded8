"""A classifier whose weights are mapped from a file, as the native engine packs them; no torch."""

import json
from dataclasses import dataclass

from clearhead.brief import Brief
from clearhead.config import rebuilt
from clearhead.data.labels.labels import Labels
from clearhead.engine.rows import NativeModel
from clearhead.engine.threads import threads
from clearhead.engine.weights.file import ModelFile
from clearhead.errors import ModelError
from clearhead.runs.text_parts import LABELS
from clearhead.tasks.classify.texts import Reading, TextClassifier
from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class PackedClassifier(TextClassifier, Brief):
    """Classifies as ``Classifier`` does, without PyTorch; it has no model to look into."""

    tokenizer: Tokenizer
    labels: Labels
    how: Reading
    model: NativeModel
    name: str
    """Of the recipe."""
    step: int
    """Training step of the weights."""

    @classmethod
    def of(cls, file: ModelFile) -> "PackedClassifier":
        """Returns the classifier of a file.

        Raises:
            ModelError: the file is of another kind of model.
        """
        about, texts = file.about, file.files
        if about["task"] != "classify":
            raise ModelError(f"{str(file.path)!r} is a model for {about['task']}, not for classify")
        return cls(
            Tokenizer.restored(texts["tokenizer/text.json"]),
            rebuilt(Labels, json.loads(texts[LABELS])),
            rebuilt(Reading, about["reading"]),
            NativeModel(file.image),
            about["name"],
            about["step"],
        )

    @property
    def _reading(self) -> Reading:
        """See ``TextClassifier``."""
        return self.how

    @property
    def threads(self) -> int:
        """See ``TextClassifier``."""
        return threads()

    @property
    def _native(self) -> NativeModel:
        """See ``TextClassifier``."""
        return self.model
