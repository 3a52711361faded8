"""Texts with markup: read within limits, and beside the event loop."""

import asyncio
import threading
from typing import Any

import pytest

from clearhead.documents.blocks import Document
from clearhead.documents.markup import markup_document
from clearhead.serve.dialects.marked import MOST_TAGS, documents_of, filled_in
from clearhead.serve.http.request_error import RequestError


class Aside:
    """What a request calls functions with."""

    async def call(self, function: Any) -> Any:
        return await asyncio.to_thread(function)


ASKED: Any = Aside()


def test_texts_are_read_and_written_in_another_thread() -> None:
    threads = set[int]()

    def read(text: str) -> Document:
        threads.add(threading.get_ident())
        return markup_document(text)

    async def main() -> list[str]:
        documents = await documents_of(ASKED, read, ["<p>one</p><p>two</p>", "<br>"], param="q")
        return await filled_in(ASKED, documents, [["eins", "zwei"], []])

    assert asyncio.run(main()) == ["<p>eins</p><p>zwei</p>", "<br>"]
    assert threads
    assert threading.get_ident() not in threads


def test_a_text_may_have_so_many_tags() -> None:
    async def main(count: int) -> list[Document]:
        return await documents_of(ASKED, markup_document, ["a", "<br>" * count], param="q")

    assert len(asyncio.run(main(MOST_TAGS))) == 2
    with pytest.raises(RequestError, match=f"q: a text has {MOST_TAGS + 1} tags, at most {MOST_TAGS}"):
        asyncio.run(main(MOST_TAGS + 1))
