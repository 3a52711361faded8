"""A translator whose weights are mapped from a file, as the native engine packs them; no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clearhead.brief import Brief
from clearhead.config import rebuilt
from clearhead.engine.rows import Computed, NativeModel
from clearhead.engine.threads import threads
from clearhead.engine.weights.file import ModelFile
from clearhead.errors import ModelError
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.parts import Sides
from clearhead.tasks.translation.texts import TextTranslator
from clearhead.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PackedTranslator(TextTranslator, Brief):
    """Translates as ``Translator`` does, without PyTorch; it has no model to look into."""

    tokenizers: Tokenizers
    languages: Sides
    lengths: LengthLimit
    model: NativeModel
    name: str
    """Of the recipe."""
    step: int
    """Training step of the weights."""

    @classmethod
    def of(cls, file: ModelFile) -> "PackedTranslator":
        """Returns the translator of a file.

        Raises:
            ModelError: the file is of another kind of model.
        """
        about, texts = file.about, file.files
        if about["task"] != "translation":
            raise ModelError(f"{str(file.path)!r} is a model for {about['task']}, not for translation")
        names = ["joint", "joint"] if "tokenizer/joint.json" in texts else ["src", "tgt"]
        made = {name: Tokenizer.restored(texts[f"tokenizer/{name}.json"]) for name in dict.fromkeys(names)}
        return cls(
            Tokenizers(*(made[name] for name in names)),
            rebuilt(Sides, about["sides"]),
            rebuilt(LengthLimit, about["lengths"]),
            NativeModel(file.image),
            about["name"],
            about["step"],
        )

    @property
    def sides(self) -> Sides:
        """See ``TextTranslator``."""
        return self.languages

    @property
    def writer(self) -> NativeModel:
        """See ``TextTranslator``."""
        return self.model

    @property
    def computed(self) -> Computed:
        """See ``TextTranslator``."""
        return "native"

    @property
    def threads(self) -> int:
        """See ``TextTranslator``."""
        return threads()

    @property
    def device(self) -> "torch.device":
        """Where a search by steps, which takes PyTorch, has its rules."""
        import torch

        return torch.device("cpu")
