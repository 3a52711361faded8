"""The tokenizers that a run keeps: one for text, or one for each side of a translation."""

from dataclasses import dataclass
from pathlib import Path

from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Tokenizers:
    """One tokenizer for each side; the same object where the vocabulary is joint."""

    src: Tokenizer
    tgt: Tokenizer

    def save(self, run: Path) -> None:
        """Writes ``tokenizer/joint.json``, or ``src.json`` and ``tgt.json``, in the run."""
        (run / "tokenizer").mkdir(exist_ok=True)
        named = {"joint": self.src} if self.src is self.tgt else {"src": self.src, "tgt": self.tgt}
        for name, tokenizer in named.items():
            tokenizer.save(run / "tokenizer" / f"{name}.json")

    @classmethod
    def load(cls, run: Path) -> "Tokenizers":
        """Reads what ``save`` wrote."""
        folder = run / "tokenizer"
        if (folder / "joint.json").exists():
            joint = Tokenizer.load(folder / "joint.json")
            return cls(joint, joint)
        return cls(Tokenizer.load(folder / "src.json"), Tokenizer.load(folder / "tgt.json"))


def save_tokenizer(tokenizer: Tokenizer, run: Path) -> None:
    """Keeps the tokenizer in the run."""
    (run / "tokenizer").mkdir(exist_ok=True)
    tokenizer.save(run / "tokenizer" / "text.json")


def load_tokenizer(run: Path) -> Tokenizer:
    """Reads the tokenizer of a run."""
    return Tokenizer.load(run / "tokenizer" / "text.json")
