"""Documents translated block by block, with their markup where the words of the source have gone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from clearhead.documents.blocks import Block, Document
from clearhead.documents.markdown import markdown_document
from clearhead.documents.markup import markup_document
from clearhead.documents.placing import Link, written
from clearhead.documents.plain import plain_document
from clearhead.documents.subtitles import subtitles_document
from clearhead.errors import ModelError
from clearhead.tasks.translation.documents.facing import Facing, facing
from clearhead.tasks.translation.result import Translation

if TYPE_CHECKING:
    from clearhead.decode.hypotheses import SearchConfig
    from clearhead.tasks.translation.texts import TextTranslator

DocumentFormat = Literal["txt", "md", "html", "srt"]
FORMATS: tuple[DocumentFormat, ...] = get_args(DocumentFormat)
_READERS: dict[str, Callable[[str], Document]] = {
    "txt": plain_document,
    "md": markdown_document,
    "html": markup_document,
    "srt": subtitles_document,
}
_MARK = "\ufeff"
"""A byte order mark, which may stand before a document and is no part of its first line."""
AT_ONCE = 256
"""Blocks that are translated together."""


@dataclass(frozen=True)
class TranslatedDocument:
    """A document, and what was translated of it."""

    text: str
    """As it is to be written."""
    blocks: list[str] = field(repr=False)
    """The prose of each block of the source, on one line."""
    translations: list[Translation | None] = field(repr=False)
    """Of each block; None where it could not be translated and stands as it was."""


def translate_document(
    translator: "TextTranslator",
    text: str,
    kind: DocumentFormat,
    config: "SearchConfig",
    *,
    on_done: Callable[[int, int], object] | None = None,
    **options: Any,
) -> TranslatedDocument:
    """Translates the prose of a document, and keeps all else byte for byte.

    Args:
        translator: that translates blocks.
        text: the document, with any ends of lines; a byte order mark before it stays there.
        kind: what it is.
        config: of the search.
        on_done: told how many blocks are translated, and of how many.
        options: see ``TextTranslator.n_best``; ``on_error`` is told the number of a block, which then stays as it is.

    A model that reads the line before a text reads the block before each, whatever stands between the two.

    Raises:
        DataError: see ``TextTranslator.n_best``.
        UsageError: likewise.
    """
    own = text.removeprefix(_MARK)
    mark = text[: len(text) - len(own)]
    document = _READERS[kind](own)
    blocks = document.blocks
    contexts = ["", *(block.text for block in blocks)] if translator.sides.reads_context else [""] * len(blocks)
    on_error = options.pop("on_error", None)
    translations: list[Translation | None] = []
    for first in range(0, len(blocks), AT_ONCE):
        texts = [block.text for block in blocks[first : first + AT_ONCE]]
        if on_error is not None:
            options["on_error"] = lambda number, error, first=first: on_error(first + number, error)
        ranked = translator.n_best(texts, config, context=contexts[first : first + len(texts)], **options)
        translations += [each[0] if each else None for each in ranked]
        if on_done is not None:
            on_done(len(translations), len(blocks))
    placing = _Placing(translator)
    pairs = zip(blocks, translations, strict=True)
    result = document.having([block.raw if each is None else placing.written(block, each) for block, each in pairs])
    return TranslatedDocument(mark + result, [block.text for block in blocks], translations)


class _Placing:
    """Writes blocks, by the attention of the model where it shows it."""

    def __init__(self, translator: "TextTranslator") -> None:
        self.translator, self.shows = translator, True

    def written(self, block: Block, translation: Translation) -> str:
        """Returns a block as it is to be written."""
        if not block.spans or translation.text == block.text:
            return written(block, translation.text)
        return written(block, translation.text, self._links(block, translation))

    def _links(self, block: Block, translation: Translation) -> list[Link] | None:
        if not self.shows:
            return None
        links, source_at, target_at = list[Link](), 0, 0
        for part in translation.of_parts or [translation]:
            if part.alignment is None and part.pieces:
                try:
                    part = self.translator.aligned(part)  # noqa: PLW2901 - the same with more in it
                except ModelError:
                    self.shows = False
                    return None
            sides = facing(part, self.translator)
            source_at = max(block.text.find(sides.source.strip(), source_at), source_at)
            target_at = max(translation.text.find(part.text, target_at), target_at)
            links += linked(sides, source_at, target_at)
            source_at, target_at = source_at + len(sides.source), target_at + len(part.text)
        return links


def linked(sides: Facing, source_at: int, target_at: int) -> list[Link]:
    """Returns the words of a part, with the places in the block that their pieces attend to.

    Args:
        sides: the part and its translation.
        source_at: where in the block the part begins.
        target_at: where in the block's translation that of the part begins.
    """
    links = []
    for word in sides.words:
        places = [sides.places[piece] for piece in sides.looked_at(word)]
        # a piece that is a part of a character has its place where the character begins
        middles = tuple(source_at + float(max(begin, (begin + end - 1) / 2)) for begin, end in places)
        links.append(Link(target_at + word.start, target_at + word.end, middles))
    return links
