"""A language model whose weights are mapped from a file, as the native engine packs them; no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clearhead.arguments import checked
from clearhead.engine.weights.file import ModelFile
from clearhead.tasks.language_model.writer import TextModel
from clearhead.tasks.native import PackedModel
from clearhead.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from clearhead.decode.rows import TextRows


@dataclass(frozen=True)
class PackedLanguageModel(PackedModel, TextModel):
    """Writes as ``LanguageModel`` does, without PyTorch."""

    tokenizer: Tokenizer
    longest: int
    """How many pieces the model can look back on."""
    marks: bool
    """See ``TextModel``."""
    task = "language_model"

    @classmethod
    def of(cls, file: ModelFile) -> "PackedLanguageModel":
        """Returns the language model of a file; raises ModelError for a file of another kind of model."""
        shared, tokenizer = cls._shared(file), Tokenizer.restored(file.files["tokenizer/text.json"])
        return cls(*shared, tokenizer, file.about["context"], file.about["marks"])

    @property
    def context(self) -> int:
        """See ``TextModel``."""
        return self.longest

    def begin(self, prompts: Sequence[Sequence[int]]) -> "TextRows":
        """See ``TextModel``; the steps are in tensors of PyTorch."""
        from clearhead.engine.decoding import NativeTextRows

        return NativeTextRows(self.model, prompts)

    @checked
    def log_probs(self, text: str) -> list[float]:
        """See ``TextModel``; windows are those of ``LanguageModel``."""
        ids = np.array([self.tokenizer.begin, *self.tokenizer.encode(text)], dtype=np.int32)
        scored = list[float]()
        for pieces, logits, sums in self.model.reading(ids, self.longest, self.threads):
            scored += (logits[np.arange(len(pieces)), pieces] - sums).tolist()
        return scored
