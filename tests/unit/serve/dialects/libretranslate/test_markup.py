"""Markup: tags and what is no language stay as they are, byte by byte; text is read without its entities."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.serve.dialects.libretranslate.markup import Markup


def shouted(source: str, **options: bool) -> str:
    markup = Markup(source, **options)
    return markup.having([text.upper() for text in markup.texts])


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("hello", "HELLO"),
        ("<p>one <b>two</b>\n three</p>", "<p>ONE <b>TWO</b>\n THREE</p>"),
        ("<P Class='a>b' data-x=\"y\">one</P >", "<P Class='a>b' data-x=\"y\">ONE</P >"),
        ("a &amp; b &lt;i&gt; &#233; &nbsp;c", "A &amp; B &lt;I&gt; É \u00a0C"),
        ("<img alt='one' src=x>two<br/>three<hr>", "<img alt='one' src=x>TWO<br/>THREE<hr>"),
        ("<!doctype html><!-- one --><?pi one?>two", "<!doctype html><!-- one --><?pi one?>TWO"),
        ("<script>if (a < b) x()</script>one<style>p { color: red }</style>",
         "<script>if (a < b) x()</script>ONE<style>p { color: red }</style>"),
        ("<code>one <i>two</i></code> three", "<code>one <i>two</i></code> THREE"),
        ("<p translate=no>one <b>two</b></p><p>three</p>", "<p translate=no>one <b>two</b></p><p>THREE</p>"),
        ("12 <b>34</b> !?", "12 <b>34</b> !?"),
        ("<b>one", "<b>ONE"),
        ("one</b></i>two", "ONE</b></i>TWO"),
        ("", ""),
        ("  \n ", "  \n "),
        ("<p>\r\n  one\r\n</p>", "<p>\r\n  ONE\r\n</p>"),
        ("<code>a<br>b</code>c", "<code>a<br>b</code>C"),
    ],
)  # fmt: skip
def test_text_is_changed_and_nothing_else(source: str, result: str) -> None:
    assert shouted(source) == result


def test_what_is_read_is_plain() -> None:
    assert Markup("<p> a &amp; b </p>&lt;c&gt;").texts == ["a & b", "<c>"]
    assert Markup("a &amp; <i>b</i> & c", entities=False).texts == ["a &amp;", "b", "& c"]


def test_what_is_written_is_no_markup() -> None:
    assert Markup("<p>a</p>").having(["<script>x & y"]) == "<p>&lt;script&gt;x &amp; y</p>"
    assert shouted("<i>a & b</i>", entities=False) == "<i>A & B</i>"


@pytest.mark.parametrize("space", ["&nbsp;", " &#32;", "&#6 ", "\n&#xa0;\t"])
def test_spaces_that_are_written_as_entities_stay_around_a_text(space: str) -> None:
    markup = Markup(f"<p>{space}a b{space}</p>")
    assert markup.texts == ["a b"]
    assert markup.having(["c"]) == f"<p>{space}c{space}</p>"


PARTS = st.sampled_from(
    ["<p>", "</p>", "<b a='1'>", "</b>", "<", ">", "&", "&amp;", "&#6", "&lt", "<!--", "-->", "<!", "<?", "?>",
     "<script>", "</script>", "<code>", "</code>", "<br/>", "</", "<![CDATA[", "]]>", "word", " ", "\n",
     "\r\n", "我", "'", '"', "="]
)  # fmt: skip


@given(st.lists(PARTS, max_size=12).map("".join))
def test_with_its_own_texts_any_source_reads_the_same(source: str) -> None:
    markup = Markup(source)
    again = Markup(markup.having(markup.texts))
    assert again.texts == markup.texts
    assert Markup(source, entities=False).having(Markup(source, entities=False).texts) == source
