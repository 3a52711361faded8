"""A masked language model whose weights are mapped from a file, as the native engine packs them; no torch."""

from dataclasses import dataclass

from clearhead.config import rebuilt
from clearhead.engine.weights.file import ModelFile
from clearhead.models.embedding import EmbeddingConfig
from clearhead.tasks.masked.texts import TextFiller
from clearhead.tasks.native import PackedModel
from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class PackedMaskedModel(PackedModel, TextFiller):
    """Fills and embeds as ``MaskedModel`` does, without PyTorch."""

    tokenizer: Tokenizer
    vectors: EmbeddingConfig
    positions: int
    task = "masked"

    @classmethod
    def of(cls, file: ModelFile) -> "PackedMaskedModel":
        """Returns the masked language model of a file; raises ModelError for a file of another kind of model."""
        shared, tokenizer = cls._shared(file), Tokenizer.restored(file.files["tokenizer/text.json"])
        return cls(*shared, tokenizer, rebuilt(EmbeddingConfig, file.about["embedding"]), file.about["longest"])

    @property
    def longest(self) -> int:
        """See ``TextFiller``."""
        return self.positions

    @property
    def d_model(self) -> int:
        """See ``TextFiller``."""
        return int(self.model.image.model.d_model)

    @property
    def embedding(self) -> EmbeddingConfig:
        """See ``TextFiller``."""
        return self.vectors
