"""What a translator reads and writes: its two languages, how much of them at a time, and what stands before a text."""

from collections.abc import Sequence
from dataclasses import dataclass

from clearhead.text.language import Language
from clearhead.text.special import ABSENT


@dataclass(frozen=True)
class Sides:
    """The two languages of a translator, and how much of them it reads and writes at a time."""

    src: Language
    tgt: Language
    longest: int
    """Most pieces of a part of the source."""
    positions: int
    """Most pieces of a source or a translation, marks included."""
    tag: int = ABSENT
    """The piece before each source that says the target's language, besides ``longest``; ABSENT: there is none."""
    context: int = ABSENT
    """The piece between a text and what is read before it, both within ``longest``; ABSENT: nothing is."""

    @property
    def lead(self) -> list[int]:
        """What stands before the pieces of each source."""
        return [] if self.tag == ABSENT else [self.tag]

    @property
    def reads_context(self) -> bool:
        """Whether a text is read with what stands before it."""
        return self.context != ABSENT

    def before(self, source: Sequence[int]) -> int:
        """Returns how many pieces of a source stand before the text itself: the tag, the context and its mark."""
        return source.index(self.context) + 1 if self.context in source else len(self.lead) if source else 0

    def alone(self, source: list[int]) -> list[int]:
        """Returns a source without its context."""
        return [*self.lead, *source[self.before(source) :]] if self.context in source else source
