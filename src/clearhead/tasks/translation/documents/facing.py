"""A text and its translation facing each other: where the words of both stand, and what each looks at."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clearhead.documents.words import Word, spans, words
from clearhead.tasks.translation.result import Translation

if TYPE_CHECKING:
    from clearhead.tasks.translation.texts import TextTranslator


@dataclass(frozen=True)
class Facing:
    """A part of a text, without what was read before it, and its translation."""

    source: str
    """The part as its pieces read."""
    places: list[tuple[int, int]]
    """Where in ``source`` each of its pieces stands."""
    words: list[Word]
    """The words of the translation."""
    alignment: list[int]
    """For each piece of the translation the piece of ``source`` that it looks at most; below 0: what was read before.

    Empty where the translation has none.
    """

    def looked_at(self, word: Word) -> list[int]:
        """Returns the pieces of ``source`` that the pieces of a word of the translation look at."""
        return [at for at in self.alignment[word.first : word.last + 1] if 0 <= at < len(self.places)]

    def source_words(self) -> list[Word]:
        """Returns the words of ``source``."""
        return words(self.source, self.places)


def facing(part: Translation, translator: "TextTranslator") -> Facing:
    """Returns the two sides of a translation of one part."""
    read, end = translator.tokenizers.src, translator.tokenizers.tgt.ids.eos
    source_ids = part.source_ids[part.before :]
    ids = [each for each in part.target_ids if each != end]
    own = words(part.text, spans(ids, translator.text_of))
    alignment = [at - part.before for at in part.alignment or []]
    return Facing(read.decode(source_ids), spans(source_ids, read.decode), own, alignment)
