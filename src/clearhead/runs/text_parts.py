"""The tokenizers of a run, which turn text into ids, and the labels of a classifier's outputs."""

from dataclasses import asdict, dataclass
from pathlib import Path

from clearhead.config import parse
from clearhead.data.labels.labels import Labels
from clearhead.errors import ModelError, UsageError
from clearhead.files import read_json
from clearhead.runs.directory import json_bytes, save_json
from clearhead.runs.recipes import check_beside
from clearhead.text.special import ABSENT
from clearhead.text.tokenizer import Tokenizer

LABELS = "labels.json"


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of a model that the tokenizer and the labels decide on."""

    vocab_size: int
    """Pieces in the vocabulary; of a translator, in that of its target side."""
    src_vocab_size: int | None = None
    """Pieces in the vocabulary of a translator's source side."""
    pad_id: int | None = None
    """Id of the piece that pads rows; None if the vocabulary has none or the model does not need it."""
    labels: Labels | None = None
    """The classes that a classifier's output layer tells apart."""


@dataclass(frozen=True)
class Tokenizers:
    """One tokenizer for each side of a translation; the same object where the vocabulary is joint."""

    src: Tokenizer
    tgt: Tokenizer


@dataclass(frozen=True)
class TextParts:
    """The tokenizers of a run, and its labels if it is a classifier's."""

    tokenizer: Tokenizer
    """For the text; in a translator, for the source side."""
    target: Tokenizer | None = None
    """For a translator's target side; the same object as ``tokenizer`` if the vocabulary is joint."""
    labels: Labels | None = None
    """The classes that a classifier's output layer tells apart."""

    @property
    def both(self) -> Tokenizers:
        """Both tokenizers of a translator."""
        assert self.target is not None, "a translator has a tokenizer of its target"
        return Tokenizers(self.tokenizer, self.target)

    @property
    def sizes(self) -> ModelSizes:
        """The sizes that the model gets from tokenizers and labels."""
        tokenizer = self.tokenizer if self.target is None else self.target
        pad_id = None if tokenizer.ids.pad == ABSENT else tokenizer.ids.pad
        return ModelSizes(tokenizer.vocab_size, self.tokenizer.vocab_size, pad_id, self.labels)

    def save(self, run: Path) -> None:
        """Writes labels and tokenizers: ``text.json``; of a pair ``joint.json``, or ``src.json`` and ``tgt.json``.

        Raises:
            ModelError: a file cannot be written, or the folder ``tokenizer`` is a link.
            DataError: the labels cannot be written.
        """
        folder = run / "tokenizer"
        if folder.is_symlink():
            raise ModelError(
                f"{str(folder)!r} is a link or a device, and a run writes to files of its own alone: delete it"
            )
        folder.mkdir(exist_ok=True)
        for name, tokenizer in self._files().items():
            tokenizer.save(folder / f"{name}.json")
        if self.labels is not None:
            save_json(run / LABELS, asdict(self.labels))

    def contents(self) -> dict[str, bytes]:
        """Returns what ``save`` writes, by path in the run."""
        files = {f"tokenizer/{name}.json": tokenizer.content() for name, tokenizer in self._files().items()}
        return files | ({} if self.labels is None else {LABELS: json_bytes(asdict(self.labels))})

    def _files(self) -> dict[str, Tokenizer]:
        if self.target is None:
            return {"text": self.tokenizer}
        if self.target is self.tokenizer:
            return {"joint": self.tokenizer}
        return {"src": self.tokenizer, "tgt": self.target}


def load_text_parts(run: Path) -> TextParts:
    """Reads the tokenizer of a run that is no translator's; raises ModelError if it is missing or damaged."""
    check_beside(run)
    return TextParts(Tokenizer.load(run / "tokenizer" / "text.json"))


def load_both_sides(run: Path) -> TextParts:
    """Reads the tokenizers of a translator; raises ModelError if one is missing or damaged."""
    check_beside(run)
    folder = run / "tokenizer"
    if (folder / "joint.json").exists():
        joint = Tokenizer.load(folder / "joint.json")
        return TextParts(joint, joint)
    return TextParts(Tokenizer.load(folder / "src.json"), Tokenizer.load(folder / "tgt.json"))


def load_labelled_parts(run: Path) -> TextParts:
    """Reads the tokenizer and the labels of a classifier; raises ModelError if one is missing or damaged."""
    check_beside(run)
    path = run / LABELS
    try:
        labels = parse(Labels, read_json(path), source=repr(str(path)))
    except UsageError as error:
        raise ModelError(str(error)) from error
    return TextParts(Tokenizer.load(run / "tokenizer" / "text.json"), labels=labels)
