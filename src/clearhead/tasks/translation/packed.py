"""A translator whose weights are mapped from a file, as the native engine packs them; no torch."""

from dataclasses import dataclass
from pathlib import Path

from clearhead.config import rebuilt
from clearhead.engine.rows import NativeModel
from clearhead.engine.weights.file import ModelFile
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.native import PackedModel
from clearhead.tasks.translation.corpora.sides import Sides
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.search.shortlist import FILE, Shortlist, read_shortlist, restored, wanted
from clearhead.tasks.translation.texts import TextTranslator
from clearhead.tasks.translation.trust.confidence import FILE as CONFIDENCE
from clearhead.tasks.translation.trust.confidence import Calibrated, calibration_in, read_calibration
from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class PackedTranslator(PackedModel, TextTranslator):
    """Translates as ``Translator`` does, without PyTorch."""

    tokenizers: Tokenizers
    languages: Sides
    lengths: LengthLimit
    shortlist: Shortlist | None = None
    several: tuple[Sides, ...] = ()
    """The directions of a model of several."""
    calibration: Calibrated = None
    task = "translation"

    @classmethod
    def of(cls, file: ModelFile, *, run: Path | None = None, shortlist: bool = False) -> "PackedTranslator":
        """Returns the translator of a file.

        Args:
            file: that is open.
            run: the directory of the run whose packed weights these are; None: the file stands for itself.
            shortlist: see ``Translator.load``.

        Raises:
            ModelError: the file is of another kind of model, or there is no shortlist.
        """
        shared, texts = cls._shared(file), file.files
        names = ["joint", "joint"] if "tokenizer/joint.json" in texts else ["src", "tgt"]
        made = {name: Tokenizer.restored(texts[f"tokenizer/{name}.json"]) for name in dict.fromkeys(names)}
        facts = rebuilt(Sides, file.about["sides"]), rebuilt(LengthLimit, file.about["lengths"])
        several = tuple(rebuilt(Sides, tree) for tree in file.about.get("directions", ()))
        both = Tokenizers(*(made[name] for name in names))
        if run is not None:
            calibration = read_calibration(run)
        else:
            calibration = calibration_in(texts[CONFIDENCE], file.path) if CONFIDENCE in texts else None
        kept = None
        if shortlist and run is not None:
            kept = wanted(read_shortlist(run, both), run)
        elif shortlist:
            kept = wanted(restored(texts[FILE], file.path, both) if FILE in texts else None, file.path)
        return cls(*shared, both, *facts, kept, several, calibration)

    @property
    def directions(self) -> tuple[Sides, ...]:
        """See ``TextTranslator``."""
        return self.several or (self.languages,)

    @property
    def writer(self) -> NativeModel:
        """See ``TextTranslator``."""
        return self.model
