"""A masked language model whose weights are mapped from a file, as the native engine packs them; no torch."""

from dataclasses import dataclass

from clearhead.brief import Brief
from clearhead.config import rebuilt
from clearhead.engine.rows import NativeModel
from clearhead.engine.threads import threads
from clearhead.engine.weights.file import ModelFile
from clearhead.errors import ModelError
from clearhead.models.embedding import EmbeddingConfig
from clearhead.tasks.masked.texts import TextFiller
from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class PackedMaskedModel(TextFiller, Brief):
    """Fills and embeds as ``MaskedModel`` does, without PyTorch; it has no model to look into."""

    tokenizer: Tokenizer
    vectors: EmbeddingConfig
    positions: int
    model: NativeModel
    name: str
    """Of the recipe."""
    step: int
    """Training step of the weights."""

    @classmethod
    def of(cls, file: ModelFile) -> "PackedMaskedModel":
        """Returns the masked language model of a file.

        Raises:
            ModelError: the file is of another kind of model.
        """
        about = file.about
        if about["task"] != "masked":
            raise ModelError(f"{str(file.path)!r} is a model for {about['task']}, not for masked")
        return cls(
            Tokenizer.restored(file.files["tokenizer/text.json"]),
            rebuilt(EmbeddingConfig, about["embedding"]),
            about["longest"],
            NativeModel(file.image),
            about["name"],
            about["step"],
        )

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

    @property
    def threads(self) -> int:
        """See ``TextFiller``."""
        return threads()

    @property
    def _native(self) -> NativeModel:
        """See ``TextFiller``."""
        return self.model
