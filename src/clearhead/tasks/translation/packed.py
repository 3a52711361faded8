"""A translator whose weights are mapped from a file, as the native engine packs them; no torch."""

from dataclasses import dataclass

from clearhead.config import rebuilt
from clearhead.engine.rows import NativeModel
from clearhead.engine.weights.file import ModelFile
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.native import PackedModel
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.parts import Sides
from clearhead.tasks.translation.texts import TextTranslator
from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class PackedTranslator(PackedModel, TextTranslator):
    """Translates as ``Translator`` does, without PyTorch."""

    tokenizers: Tokenizers
    languages: Sides
    lengths: LengthLimit
    task = "translation"

    @classmethod
    def of(cls, file: ModelFile) -> "PackedTranslator":
        """Returns the translator of a file; raises ModelError for a file of another kind of model."""
        shared, texts = cls._shared(file), file.files
        names = ["joint", "joint"] if "tokenizer/joint.json" in texts else ["src", "tgt"]
        made = {name: Tokenizer.restored(texts[f"tokenizer/{name}.json"]) for name in dict.fromkeys(names)}
        facts = rebuilt(Sides, file.about["sides"]), rebuilt(LengthLimit, file.about["lengths"])
        return cls(*shared, Tokenizers(*(made[name] for name in names)), *facts)

    @property
    def sides(self) -> Sides:
        """See ``TextTranslator``."""
        return self.languages

    @property
    def writer(self) -> NativeModel:
        """See ``TextTranslator``."""
        return self.model
