"""Blocks of a document, addresses in them, and what stands between two lines that become one."""

from collections.abc import Callable

import pytest

from clearhead.documents.blocks import Block, Document, Span, has_words, is_wide, joiner
from clearhead.documents.markdown import markdown_document
from clearhead.documents.markup import markup_document
from clearhead.documents.plain import plain_document
from clearhead.documents.subtitles import subtitles_document


def test_a_document_has_other_texts_in_the_places_of_its_blocks() -> None:
    document = Document(["# ", Block("a", "a"), "\n", Block("b", "b"), "\n"])
    assert [block.text for block in document.blocks] == ["a", "b"]
    assert document.having(["x", "y"]) == "# x\ny\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("see https://a.b/c?d=e(f).", ["https://a.b/c?d=e(f"]),
        ("http://a.b, ftp://c.d/e", ["http://a.b", "ftp://c.d/e"]),
        ("x.y+z@sub.example.org!", ["x.y+z@sub.example.org"]),
        ("看https://a.b/c。", ["https://a.b/c"]),
        ("a@b and c:/d", []),
    ],
)
def test_addresses_are_kept(text: str, kept: list[str]) -> None:
    block = Block(text, text).with_addresses()
    assert [text[span.begin : span.end] for span in block.spans] == [span.opening for span in block.spans] == kept


def test_an_address_that_is_kept_already_is_not_kept_twice() -> None:
    span = Span(0, 10, "`http://a.b`", kept=True)
    assert Block("http://a.b", "`http://a.b`", (span,)).with_addresses().spans == (span,)


@pytest.mark.parametrize("kind", [plain_document, markdown_document, markup_document, subtitles_document])
def test_hostile_texts_take_no_more_time_than_others(kind: Callable[[str], Document]) -> None:
    """Signs over and over, from each of which a careless pattern reads on to the end."""
    for unit in (
        "1",
        "a.",
        "a" + " " * 8_000 + "b",
        "<",
        "<code>" + "<" * 8_000,
        "[",
        "*a ",
        "1:",
        " \n",
        "http://",
        "`",
    ):
        text = unit * (16_000 // len(unit) + 1)
        assert kind(text).having([block.raw for block in kind(text).blocks]) == text


def test_what_has_no_prose_is_no_block() -> None:
    code = Span(4, 8, "`code`", kept=True)
    blocks = [Block("and code", "and `code`", (code,)), Block("12, code", "12, `code`", (code,)), Block("12", "12")]
    document = Document([*blocks, "x"])
    assert document.blocks == blocks[:1]
    assert document.having(["und"]) == "und12, `code`12x"


def test_what_stands_between_lines() -> None:
    assert (joiner("a", "b"), joiner("我", "们"), joiner("我", "b"), joiner("", "b")) == (" ", "", " ", " ")
    assert (joiner("학", "교"), is_wide("학"), is_wide("。")) == (" ", False, True)
    assert (has_words("1 - 2"), has_words("1 a"), has_words("我")) == (False, True, True)
