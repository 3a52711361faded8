"""What a model is looked at with: a text, or random pieces that are the same at every call."""

from dataclasses import dataclass

import torch

from clearhead.errors import DataError, UsageError
from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Shape:
    """How large a batch of random pieces is, where there is no text."""

    rows: int = 2
    length: int = 32
    """Pieces of a row, as far as the model has room."""

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """Reads ``ROWSxLENGTH``.

        Raises:
            UsageError: it is something else.
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
            tokenizer: of the model.
            room: most pieces of a row; of both texts of a pair together.
            pair: the text is two, with a tab between them, and gives two rows.
            draw: number of the drawing; another number gives other pieces.

        Raises:
            DataError: the text has more pieces than that.
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
