"""Plain text: lines stay lines, sentences go through them, bullets and blank lines stay."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.documents.placing import written
from clearhead.documents.plain import plain_document, width

LONG = "this is a line of words that goes on and on"


def shouted(text: str) -> str:
    document = plain_document(text)
    return document.having([written(block, block.text.upper()) for block in document.blocks])


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("a b\n\nc\n", ["a b", "c"]),
        (f"{LONG}\nin the next one. Then more\nof it", [f"{LONG} in the next one. Then more", "of it"]),
        (f"{LONG}.\nNew one", [f"{LONG}.", "New one"]),
        (f"{LONG}\n- item\n", [LONG, "item"]),
        (f"- {LONG}\n  goes on\n* next", [f"{LONG} goes on", "next"]),
        (f"{LONG}\n    indented", [LONG, "indented"]),
        ("1) one\n2) two\n\n---\n123\n", ["one", "two"]),
        ("roses are red\nviolets are blue", ["roses are red", "violets are blue"]),
        ("我们今天在家里吃了很多的东西然后又出去走了走\n路", ["我们今天在家里吃了很多的东西然后又出去走了走路"]),
        (" \n\t\n", []),
        ("", []),
        ("a\r\nb\r\n", ["a", "b"]),
        ("a\rb\r\r\nc\r", ["a", "b", "c"]),
        (f"mail me@example.org or see https://a.b/c, {LONG}", [f"mail me@example.org or see https://a.b/c, {LONG}"]),
    ],
)
def test_lines_and_sentences(text: str, blocks: list[str]) -> None:
    document = plain_document(text)
    assert [block.text for block in document.blocks] == blocks
    assert document.having([block.raw for block in document.blocks]) == text
    if "@" not in text:
        assert shouted(text) == text.upper()


def test_addresses_stay() -> None:
    assert shouted("see https://a.b/c, me@example.org.") == "SEE https://a.b/c, me@example.org."


@settings(deadline=None)
@given(st.text(st.sampled_from("ab.我 \n\r\t-1)\u2028"), max_size=120))
def test_whatever_the_text_it_stays_with_its_own_prose(text: str) -> None:
    document = plain_document(text)
    assert document.having([written(block, block.text) for block in document.blocks]) == text
    assert [shouted(text).count(end) for end in "\r\n"] == [text.count(end) for end in "\r\n"]


def test_wide_characters_take_two_columns() -> None:
    assert (width("ab"), width("我a"), width("")) == (2, 3, 0)
