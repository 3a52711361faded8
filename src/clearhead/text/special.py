"""The special pieces and their ids: the same in every tokenizer trained here, their own in an adopted one."""

import dataclasses
from typing import Literal

PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"
CLS, SEP, MASK = "[CLS]", "[SEP]", "[MASK]"
SPECIALS = (PAD, BOS, EOS, UNK)
Specials = Literal["sequence", "masked"]

ABSENT = -1  # the id of a special piece that a vocabulary does not have
NO_TARGET = -100  # stands in ``targets`` where nothing is to be predicted


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Which ids the special pieces have; ``ABSENT`` where there is no such piece."""

    pad: int = 0
    """Fills a batch, never attended to."""
    bos: int = 1
    """First input of a decoder."""
    eos: int = 2
    """Ends a text."""
    unk: int = 3
    """Text that the vocabulary cannot spell; byte_bpe never needs it."""
    cls: int = ABSENT
    """Stands before a text that is read from both sides."""
    sep: int = ABSENT
    """Stands behind each segment of such a text."""
    mask: int = ABSENT
    """Hides a piece that is to be found."""

    @property
    def fill(self) -> int:
        """What fills a batch where there is no piece for it: nothing attends to it, so that any will do."""
        return self.eos if self.pad == ABSENT else self.pad

    @property
    def never(self) -> tuple[int, ...]:
        """Ids that no text has in it."""
        found = (self.pad, self.bos, self.unk, self.cls, self.sep, self.mask)
        return tuple(sorted({one for one in found if one not in (ABSENT, self.eos)}))


SPECIAL_IDS = SpecialIds()


def specials_of(kind: Specials) -> tuple[tuple[str, ...], SpecialIds]:
    """Returns the special pieces of a vocabulary trained here, in order of id, and their ids."""
    if kind == "masked":
        return (*SPECIALS, CLS, SEP, MASK), SpecialIds(cls=4, sep=5, mask=6)
    return SPECIALS, SPECIAL_IDS
