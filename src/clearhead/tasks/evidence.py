"""What an exported model is compared on: lines as its model reads them, and what counts for quality there."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from clearhead.evaluate.paired import Accuracy, Metric, Pearson
from clearhead.export.runtime import Row
from clearhead.text.special import NO_TARGET

ROOM = 128
"""Most pieces of a line of a language model that are read, so that long lines do not take minutes."""
DRAWN, LENGTH = 8, 24
"""Rows of random pieces where there is no text, and pieces in each."""


@dataclass(frozen=True)
class Evidence:
    """Lines of the valid split, or random pieces."""

    rows: list[Row]
    """What is read for outputs."""
    ends: list[int]
    """Pieces that end a text; the first one is its end mark."""
    never: list[int]
    """Pieces that are in no text."""
    metric: Metric | None = None
    """How quality is measured; None for random pieces."""
    targets: Sequence[Sequence[int | float]] = ()
    """For each row the piece that is right at each position, or ``NO_TARGET``; of a classifier its class or number."""
    prompts: list[Row] = field(default_factory=list)
    """What is read for greedy texts; empty where the model writes none."""
    limits: list[int] = field(default_factory=list)
    """Most pieces of each of those texts."""
    texts: list[str] = field(default_factory=list)
    """What the tokenizer reads."""
    ids: list[list[int]] = field(default_factory=list)
    """The pieces of ``texts``, without special ones."""
    dropped: int = 0
    """Lines that were left out since the model has no room for them."""
    scale: tuple[float, float] = (1.0, 0.0)
    """Standard deviation and mean of the numbers that a model predicts."""

    @property
    def drawn(self) -> bool:
        """Whether these are random pieces."""
        return not self.texts

    @property
    def digest(self) -> str:
        """Identifies the text: SHA-256 of its lines."""
        return hashlib.sha256("\n".join(self.texts).encode("utf-8", "surrogatepass")).hexdigest()

    def judge(self, number: int, logits: Tensor) -> Sequence[int | float]:
        """Returns what the logits of a row count for ``metric``."""
        if isinstance(self.metric, Pearson):
            return self.targets[number][0], float(logits[0, 0])
        targets = torch.tensor(self.targets[number], dtype=torch.long)
        at = targets.ne(NO_TARGET).nonzero()[:, 0]
        wanted, given = targets[at], logits[at]
        if isinstance(self.metric, Accuracy):
            return int((given.argmax(dim=1) == wanted).sum()), len(at)
        return float(functional.cross_entropy(given, wanted, reduction="sum")), len(at)


def first_lines(documents: Iterable[str], count: int) -> list[str]:
    """Returns the first lines of documents that are not blank."""
    lines: list[str] = []
    for document in documents:
        lines += [line for line in document.split("\n") if line.strip()]
        if len(lines) >= count:
            break
    return lines[:count]


def random_ids(vocab_size: int, special: int, length: int, *, draw: int = 0) -> list[list[int]]:
    """Returns rows of pieces that are the same at every call; ``special`` pieces from 0 on are not among them."""
    generator = torch.Generator().manual_seed(draw)
    size = (DRAWN, max(1, min(LENGTH, length)))
    return torch.randint(min(special, vocab_size - 1), vocab_size, size, generator=generator).tolist()
