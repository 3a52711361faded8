"""A language model whose weights are mapped from a file, as the native engine packs them; no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clearhead.arguments import checked
from clearhead.engine.rows import Ints
from clearhead.engine.weights.file import ModelFile
from clearhead.engine.weights.packing import Floats
from clearhead.tasks.language_model.writer import TextModel
from clearhead.tasks.native import PackedModel
from clearhead.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from clearhead.decode.rows import TextRows

LOGITS = 128  # positions of a text whose logits are there at once


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
        last, scored = len(ids) - 1, list[float]()
        while (done := len(scored)) < last:
            begin = max(0, done - self.longest // 2)
            end, rows = min(begin + self.longest, last), self.model.rows(self.threads)
            rows.join_empty(1)
            if begin < done:
                rows.extend(ids[begin:done], _one(done - begin))
            for at in range(done, end, LOGITS):
                part = ids[at : min(at + LOGITS, end)]
                scored += _log_probs(rows.extend(part, _one(len(part)), every=True), ids[at + 1 :][: len(part)])
        return scored


def _log_probs(logits: Floats, pieces: Ints) -> list[float]:
    """Log-probability of the piece of each row: [rows, vocab], [rows] -> rows."""
    best = logits.max(axis=1)
    sums = np.exp(logits - best[:, None]).sum(axis=1, dtype=np.float64)
    log_probs: list[float] = (logits[np.arange(len(pieces)), pieces] - best - np.log(sums)).tolist()
    return log_probs


def _one(length: int) -> Ints:
    return np.array([length], dtype=np.int32)
