"""A model that was read from a folder in Hugging Face's layout, with a recipe of its family."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearhead.interop.spelling import Tensors
from clearhead.runs.text_parts import TextParts
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.config import TrainConfig


@dataclass(frozen=True)
class Imported:
    """What a family's ``read_folder`` returns."""

    recipe: Any
    """The recipe with the model's sizes and tokenizer; training keys have their defaults, as the folder has none."""
    sizes: str
    """The sizes in a few words."""
    parts: TextParts = field(repr=False)
    tensors: Tensors = field(repr=False)
    """The weights, with clearhead's names and shapes."""
    loaded: tuple[str, ...]
    """Names, as in the folder, of the tensors that were loaded."""
    left: tuple[str, ...]
    """Names of the tensors that were not loaded, because they hold nothing learned."""
    new: tuple[str, ...] = ()
    """Tensors of heads that the folder lacks: they are initialized at random and still have to be trained."""
    untaken: tuple[str, ...] = ()
    """Settings of generation in the folder that the run does not take over; its verbs have options for them."""

    def lines(self) -> list[str]:
        """Describes what was read, for a terminal."""
        counts = [f"{len(self.loaded)} tensors loaded"]
        if self.left:
            counts.append(f"{len(self.left)} left, which hold nothing learned: {', '.join(self.left[:4])}")
        if self.new:
            counts.append(f"{len(self.new)} new, which are to be trained: {', '.join(self.new)}")
        lines = [f"model: {self.sizes}, {self.parts.tokenizer.vocab_size:,} pieces", "; ".join(counts)]
        if self.parts.labels is not None:
            classes = self.parts.labels.classes
            more = ", ..." if len(classes) > 8 else ""
            shown = f"{len(classes)} classes: {', '.join(classes[:8])}{more}" if classes else "a number"
            lines.append(f"labels: {shown}")
        if self.untaken:
            lines.append(f"not taken over from generation_config.json: {', '.join(self.untaken)}")
        return lines


def described(folder: Path, tokenizer: Tokenizer, length: int) -> dict[str, Any]:
    """Returns the recipe keys that follow from the folder for every family; ``length`` is that of its longest row."""
    train = TrainConfig(batch_tokens=max(TrainConfig.batch_tokens, length))
    return {"name": folder.resolve().name, "tokenizer": tokenizer.config, "train": train}
