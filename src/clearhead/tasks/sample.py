"""The input with which a model is inspected: a text, or random pieces that are the same at every call."""

from dataclasses import dataclass

import torch

from clearhead.errors import DataError, UsageError
from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Shape:
    """The size of a batch of random pieces, used where no text is given."""

    rows: int = 2
    length: int = 32
    """Pieces in a row; fewer where the model's context is shorter."""

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """Reads ``ROWSxLENGTH``.

        Raises:
            UsageError: the text has another form.
        """
        rows, _, length = text.lower().partition("x")
        if not (rows.isdecimal() and length.isdecimal() and int(rows) and int(length) > 1):
            raise UsageError(f"--batch {text!r}: must be ROWSxLENGTH, for example 2x32, with rows of 2 pieces or more")
        return cls(int(rows), int(length))


@dataclass(frozen=True)
class Sample:
    """A text, or the shape of a batch of random pieces."""

    text: str | None = None
    """None: random pieces."""
    shape: Shape = Shape()

    def rows(self, tokenizer: Tokenizer, room: int, *, pair: bool = False, draw: int = 0) -> list[list[int]]:
        """Encodes the text, or draws rows of random pieces.

        Args:
            tokenizer: the model's tokenizer.
            room: most pieces in a row, or in both texts of a pair together.
            pair: whether the text is a pair, divided by a tab, which gives two rows.
            draw: seed of the random pieces.

        Raises:
            DataError: the text has more than ``room`` pieces.
        """
        room = room // 2 if pair else room
        if self.text is None:
            generator = torch.Generator().manual_seed(draw)
            size = (self.shape.rows, max(min(self.shape.length, room), 1))
            first = min(len(tokenizer.ids.never) + 1, tokenizer.vocab_size - 1)
            return torch.randint(first, tokenizer.vocab_size, size, generator=generator).tolist()
        rows = tokenizer.encode_batch(self.text.split("\t") if pair else [self.text])
        if max(map(len, rows)) > room:
            raise DataError(f"text {self.text[:40]!r}: has {max(map(len, rows))} pieces, the model has room for {room}")
        return rows
