"""Tag handling: what reads the texts of a request, and what is none of DeepL's."""

from typing import Any

import pytest

from clearhead.serve.dialects.deepl.tags import reader_of
from clearhead.serve.http.body import Fields
from clearhead.serve.http.request_error import RequestError

XML = "<r><a>one</a> <b>two <c>three</c></b></r>"


def blocks(fields: dict[str, Any], text: str = XML) -> list[str]:
    read = reader_of(Fields(fields))
    assert read is not None
    return [block.text for block in read(text).blocks]


def test_plain_texts_are_no_documents() -> None:
    assert reader_of(Fields({})) is None
    assert reader_of(Fields({"tag_handling": "", "splitting_tags": "a"})) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tag_handling": "html"}, ["one", "two three"]),
        ({"tag_handling": "xml"}, ["one", "two three"]),
        ({"tag_handling": "xml", "outline_detection": False}, ["one two three"]),
        ({"tag_handling": "xml", "outline_detection": 0, "splitting_tags": ["b", "c"]}, ["one", "two", "three"]),
        ({"tag_handling": "xml", "non_splitting_tags": "A, b,r"}, ["one two three"]),
        ({"tag_handling": "xml", "ignore_tags": "b"}, ["one"]),
    ],
)
def test_what_parts_sentences_may_be_said(fields: dict[str, Any], expected: list[str]) -> None:
    assert blocks(fields, XML if fields["tag_handling"] == "xml" else "<p>one</p><p>two <b>three</b></p>") == expected


def test_what_is_none_of_deepls_is_refused() -> None:
    for fields in ({"tag_handling": "xhtml"}, {"tag_handling": "xml", "outline_detection": "yes"}):
        with pytest.raises(RequestError):
            reader_of(Fields(fields))
    with pytest.raises(RequestError, match="has 101 strings, at most 100"):
        reader_of(Fields({"tag_handling": "xml", "ignore_tags": ["a"] * 101}))
