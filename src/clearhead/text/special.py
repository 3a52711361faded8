"""The special pieces and their ids: the same in every tokenizer trained here, different in adopted ones."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from clearhead.ranges import Id

PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"
CLS, SEP, MASK = "[CLS]", "[SEP]", "[MASK]"
SPECIALS = (PAD, BOS, EOS, UNK)
Specials = Literal["sequence", "masked"]

ABSENT = -1  # stands for the id of a special piece that a vocabulary does not have
NO_TARGET = -100  # in ``targets``: a position where nothing is predicted


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """The ids of the special pieces; ``ABSENT`` if the vocabulary has no such piece."""

    pad: Id = 0
    """Pads a batch; nothing attends to it."""
    bos: Id = 1
    """First input of a decoder."""
    eos: Id = 2
    """Ends a text."""
    unk: Id = 3
    """Text that the vocabulary cannot spell; byte_bpe never needs it."""
    cls: Id = ABSENT
    """Begins a text that an encoder reads."""
    sep: Id = ABSENT
    """Ends each segment of such a text."""
    mask: Id = ABSENT
    """Hides a piece that the model predicts."""

    @property
    def fill(self) -> int:
        """The id that pads a batch: the end mark if there is no padding piece, since nothing attends to it."""
        return self.eos if self.pad == ABSENT else self.pad

    @property
    def never(self) -> tuple[int, ...]:
        """Ids that never occur inside a text, sorted."""
        ids = (self.pad, self.bos, self.unk, self.cls, self.sep, self.mask)
        return tuple(sorted(set(ids) - {ABSENT, self.eos}))


SPECIAL_IDS = SpecialIds()


def specials_of(
    kind: Specials, tags: Sequence[str] = (), marks: Sequence[str] = ()
) -> tuple[tuple[str, ...], SpecialIds]:
    """Returns the special pieces of a vocabulary trained here, in order of id, and the ids of those with a role.

    Args:
        kind: which roles there are.
        tags: languages, each of which has a piece behind all others; see ``tag_of``.
        marks: kinds of text, each of which has a piece behind these; see ``mark_of``.
    """
    told = (*map(tag_of, tags), *map(mark_of, marks))
    if kind == "masked":
        return (*SPECIALS, CLS, SEP, MASK, *told), SpecialIds(cls=4, sep=5, mask=6)
    return (*SPECIALS, *told), SPECIAL_IDS


def numbered(names: Sequence[str], kind: Specials, tags: Sequence[str] = ()) -> dict[str, int]:
    """Returns the ids of pieces that stand behind all others that ``specials_of`` gives."""
    first = len(specials_of(kind, tags)[0])
    return {name: first + number for number, name in enumerate(names)}


def tag_of(language: str) -> str:
    """Returns the piece that stands before a source which is to be translated into ``language``."""
    return f"<2{language}>"


def mark_of(kind: str) -> str:
    """Returns the piece that stands before a source of some kind of text, as ``<bt>`` before back-translations."""
    return f"<{kind}>"
