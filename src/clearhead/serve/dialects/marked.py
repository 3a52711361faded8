"""Texts with markup, read and written beside the event loop: that takes longer than all else that is done there."""

from collections.abc import Callable, Sequence

from clearhead.documents.blocks import Document
from clearhead.documents.placing import filled
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.request_error import RequestError

MOST_TAGS = 4000


async def documents_of(
    asked: Asked, read: Callable[[str], Document], texts: Sequence[str], *, param: str
) -> list[Document]:
    """Returns texts with markup as documents.

    Args:
        asked: the request.
        read: reads one.
        texts: all of them.
        param: the field that they come from.

    Raises:
        RequestError: one has too many tags.
    """
    if wrong := next((count for text in texts if (count := text.count("<")) > MOST_TAGS), 0):
        raise RequestError(400, f"{param}: a text has {wrong} tags, at most {MOST_TAGS}", param=param)
    return await asked.call(lambda: [read(text) for text in texts])


async def filled_in(asked: Asked, documents: Sequence[Document], texts: Sequence[Sequence[str]]) -> list[str]:
    """Returns documents with these translations of their blocks."""
    return await asked.call(lambda: [filled(document, own) for document, own in zip(documents, texts, strict=True)])
