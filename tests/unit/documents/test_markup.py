"""Markup: tags and what is no language stay as they are, byte by byte; text is read without its entities."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.documents.blocks import Block
from clearhead.documents.markup import Markup, inline, markup_document
from clearhead.documents.placing import written


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


@pytest.mark.parametrize(
    "odd", ["<![a*", "<![*", "<![a*>", "<![*]>", "<![", "<!>", "<![CDATA[x]]>", "<![if IE]>", "</*>"]
)
def test_what_is_no_markup_is_read_by_and_stays(odd: str) -> None:
    for source in (f"<p>One.{odd}", f"{odd}<p>One.</p>", f"<b>\r{odd}"):
        document = markup_document(source)
        assert document.having([block.raw for block in document.blocks]) == source
    assert markup_document(f"<p>One.</p>{odd} <p>Two.</p>").blocks[0].text == "One."


def test_subtitles_have_tags_in_braces_too() -> None:
    source = "{\\an8}a {i}b{/i}\\Nc {d\n}"
    assert Markup(source, entities=False).texts == ["a", "b", "c {d\n}"]
    assert shouted(source, entities=False) == "{\\an8}A {i}B{/i}\\NC {D\n}"
    assert Markup(source).texts == [source]
    block = inline("{i}a{/i} {\\B1}b{\\b0}\\N{\\k5}c{/u}", entities=False, breaks=True)
    assert isinstance(block, Block)
    assert (block.text, [each.raw for each in block.breaks]) == ("a b c", ["\\N"])
    assert [(each.opening, each.closing) for each in block.spans] == [
        ("{i}", "{/i}"),
        ("{\\B1}", "{\\b0}"),
        ("{\\k5}", ""),
        ("{/u}", ""),
    ]


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


@settings(deadline=None)
@given(st.lists(PARTS, max_size=12).map("".join))
def test_with_its_own_texts_any_source_reads_the_same(source: str) -> None:
    markup = Markup(source)
    again = Markup(markup.having(markup.texts))
    assert again.texts == markup.texts
    assert Markup(source, entities=False).having(Markup(source, entities=False).texts) == source


def loud(source: str) -> str:
    document = markup_document(source)
    return document.having([written(block, block.text.upper()) for block in document.blocks])


@pytest.mark.parametrize(
    ("source", "blocks", "result"),
    [
        ("<p>one <b>two</b>\n three</p>", ["one two three"], "<p>ONE <b>TWO</b> THREE</p>"),
        ("<h1>a</h1> <p> b <p>c<br>d", ["a", "b", "c", "d"], "<h1>A</h1> <p> B <p>C<br>D"),
        ("<ul><li>a<li><i>b</i></ul>", ["a", "b"], "<ul><li>A<li><i>B</i></ul>"),
        ("<td>a &lt; b &amp; c</td>", ["a < b & c"], "<td>A &lt; B &amp; C</td>"),
        ("<p>run <code>a &lt; b</code> now</p>", ["run a < b now"], "<p>RUN <code>a &lt; b</code> NOW</p>"),
        ("<pre>a</pre><script>b</script>c<style>d</style><svg><text>e</text></svg>", ["c"],
         "<pre>a</pre><script>b</script>C<style>d</style><svg><text>e</text></svg>"),
        ("<p>a <span translate=no>b</span> c <img alt='d' src=e> f</p>", ["a b c f"],
         "<p>A <span translate=no>b</span> C <img alt='d' src=e> F</p>"),
        ("a<!-- b --> c &nbsp;", ["a c"], "A<!-- b --> C &nbsp;"),
        ("<p><b>a <i>b</b> c</i></p>", ["a b c"], "<p><b>A <i>B</b> C</i></p>"),
        ("<p title='a > b'>\r\n  c\r\n</p>", ["c"], "<p title='a > b'>\r\n  C\r\n</p>"),
        ("see <a href='http://a.b'>http://a.b</a>", ["see http://a.b"], "SEE <a href='http://a.b'>http://a.b</a>"),
        ("<code>a</code> 1", [], "<code>a</code> 1"),
    ],
)  # fmt: skip
def test_a_sentence_is_a_block_with_the_tags_in_it(source: str, blocks: list[str], result: str) -> None:
    document = markup_document(source)
    assert [block.text for block in document.blocks] == blocks
    assert document.having([block.raw for block in document.blocks]) == source
    assert loud(source) == result


PAGES = sorted(Path(__file__).resolve().parents[3].glob("src/clearhead/**/*.html"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_keeps_its_tags(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    document = markup_document(source)
    assert document.having([written(block, block.text) for block in document.blocks]) == source
    assert re.findall("<[^>]*>", loud(source)) == re.findall("<[^>]*>", source)


@settings(deadline=None)
@given(st.lists(PARTS, max_size=14).map("".join))
def test_documents_of_any_source_stay_with_their_own_prose(source: str) -> None:
    document = markup_document(source)
    assert document.having([written(block, block.text) for block in document.blocks]) == source
    loud(source)


def test_a_part_of_a_text_is_one_block() -> None:
    block = inline("<i>a\nb</i> <br> c", entities=False, breaks=True)
    assert isinstance(block, Block)
    assert (block.text, [each.raw for each in block.breaks]) == ("a b c", ["\n"])
    assert written(block, "A B C") == "<i>A\nB</i> <br> C"
    assert inline("<i>1</i>", entities=False, breaks=True) is None
