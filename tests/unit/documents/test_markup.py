"""Markup: tags and what is no language stay as they are, byte by byte; text is read without its entities."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.documents.blocks import Block
from clearhead.documents.markup import inline, markup_document, xml_document
from clearhead.documents.placing import filled, written


@pytest.mark.parametrize(
    "odd", ["<![a*", "<![*", "<![a*>", "<![*]>", "<![", "<!>", "<![CDATA[x]]>", "<![if IE]>", "</*>"]
)
def test_what_is_no_markup_is_read_by_and_stays(odd: str) -> None:
    for source in (f"<p>One.{odd}", f"{odd}<p>One.</p>", f"<b>\r{odd}"):
        document = markup_document(source)
        assert document.having([block.raw for block in document.blocks]) == source
    assert markup_document(f"<p>One.</p>{odd} <p>Two.</p>").blocks[0].text == "One."


def test_subtitles_have_tags_in_braces_too() -> None:
    block = inline("{i}a{/i} {\\B1}b{\\b0}\\N{\\k5}c{/u}", entities=False, breaks=True)
    assert isinstance(block, Block)
    assert (block.text, [each.raw for each in block.breaks]) == ("a b c", ["\\N"])
    assert [(each.opening, each.closing) for each in block.spans] == [
        ("{i}", "{/i}"),
        ("{\\B1}", "{\\b0}"),
        ("{\\k5}", ""),
        ("{/u}", ""),
    ]


PARTS = st.sampled_from(
    ["<p>", "</p>", "<b a='1'>", "</b>", "<", ">", "&", "&amp;", "&#6", "&lt", "<!--", "-->", "<!", "<?", "?>",
     "<script>", "</script>", "<code>", "</code>", "<br/>", "</", "<![CDATA[", "]]>", "word", " ", "\n",
     "\r\n", "我", "'", '"', "="]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(PARTS, max_size=12).map("".join))
def test_with_its_own_texts_any_source_reads_the_same(source: str) -> None:
    for read in (markup_document, xml_document):
        document = read(source)
        assert filled(document, [block.text for block in document.blocks]) == source


def loud(source: str) -> str:
    document = markup_document(source)
    return filled(document, [block.text.upper() for block in document.blocks])


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
    assert filled(document, [block.text for block in document.blocks]) == source
    assert re.findall("<[^>]*>", loud(source)) == re.findall("<[^>]*>", source)


@settings(deadline=None)
@given(st.lists(PARTS, max_size=14).map("".join))
def test_documents_of_any_source_stay_with_their_own_prose(source: str) -> None:
    document = markup_document(source)
    assert filled(document, [block.text for block in document.blocks]) == source
    loud(source)


def test_a_part_of_a_text_is_one_block() -> None:
    block = inline("<i>a\nb</i> <br> c", entities=False, breaks=True)
    assert isinstance(block, Block)
    assert (block.text, [each.raw for each in block.breaks]) == ("a b c", ["\n"])
    assert written(block, "A B C") == "<i>A\nB</i> <br> C"
    assert inline("<i>1</i>", entities=False, breaks=True) is None


@pytest.mark.parametrize(
    ("source", "options", "blocks"),
    [
        ("<doc><p>one <x id='1'/>two</p><p>three</p></doc>", {}, ["one two", "three"]),
        ("one <a>two <b>three</b></a> four", {}, ["one two three four"]),
        ("<r>\n <t>one</t>\n <t>two</t>\n</r>", {}, ["one", "two"]),
        ("<r><t>one</t> <t>two</t></r>", {"outline": False}, ["one two"]),
        ("<r><t>one</t> <t>two</t></r>", {"joining": {"t"}}, ["one two"]),
        ("one <t>two</t> three", {"parting": {"t"}}, ["one", "two", "three"]),
        ("<code>one</code><script>two</script>", {}, ["one", "two"]),
        ("one <X>two <y>2</y></X> three", {"kept": {"x"}}, ["one two 2 three"]),
        ("<p>one<br/>two</p>", {}, ["one", "two"]),
        ("<p>one<br/>two</p>", {"joining": {"br"}}, ["onetwo"]),
        ("<r>one<p>two.</p><p>three.</p></r>", {}, ["one", "two.", "three."]),
        ("<li>one<ul><li>two</li><li>three</li></ul></li>", {}, ["one", "two", "three"]),
        ("<r><b>one</b><p>two <b>three</b></p></r>", {}, ["one", "two three"]),
        ("one <_x1/> <ß>two</ß> <a:b.c x='>' y=\"/>\">three</a:b.c>", {}, ["one two three"]),
        ("<!DOCTYPE r [<!ENTITY x 'y'>]><?p a > b?><r><!-- one --><![CDATA[two]]>three</r>", {}, ["three"]),
        ("one &x; two &amp; &lt;", {}, ["one &x; two & <"]),
        ("one <i translate='no'>two</i> three <", {}, ["one two three <"]),
        ("a < b <1> c", {}, ["a < b <1> c"]),
        ("<x>one <x>two</x> three</x> four", {"kept": {"x"}}, ["one two three four"]),
        ("one <x>two", {"kept": {"x"}}, ["one two"]),
        ("one</a> two</b>", {}, ["one two"]),
        ("<a>one <b>two", {}, ["one two"]),
    ],
)
def test_xml_is_parted_where_no_words_stand_beside_a_tag(source: str, options: Any, blocks: list[str]) -> None:
    document = xml_document(source, **options)
    assert [block.text for block in document.blocks] == blocks
    assert document.having([block.raw for block in document.blocks]) == source


def test_what_is_kept_of_xml_stays_in_its_place() -> None:
    document = xml_document("one <X>two <y>too</y></X> three", kept={"x"})
    assert filled(document, ["UNO two too DREI"]) == "UNO <X>two <y>too</y></X> DREI"
    assert filled(document, ["UNO UNO UNO two too"]) == "UNO UNO UNO <X>two <y>too</y></X>"
    assert filled(document, ["eins, drei"]) == "eins <X>two <y>too</y></X>, drei", "no word gives way to it"
    assert filled(xml_document("one &x; &amp; two"), ["eins & zwei &x;"]) == "eins &amp; zwei &x;"


def test_time_does_not_grow_with_words_times_depth() -> None:
    source = "<b>" * 2000 + "word " * 16_000 + "</b>" * 2000
    document = markup_document(source)
    before = time.process_time()
    found = filled(document, [block.text.replace("word", "wort") for block in document.blocks])
    assert time.process_time() - before < 5
    assert (found.count("<b>"), found.count("</b>"), found.count("wort")) == (2000, 2000, 16_000)


@pytest.mark.parametrize(
    "piece",
    [
        "word <wbr> ", "word <x/> ", "<b>word</b> ", "<b>word ", "word</b> ", "<code>x</code> word ", "&x; word ",
        "<b><i>a</i>b</b>", "<p>one</p>", "https://a.b/c word ", "<b>https://a.b/c</b> ", "<a ", "<a b=\"", "<!-- ",
        "<![CDATA[", "<?a ", "<!A [", "&", "&lt", "<code>", "</code>", "<p translate=no>a",
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["", ">"])
def test_time_grows_with_a_text_and_not_with_its_square(piece: str, end: str) -> None:
    """A text of 30 kilobytes takes a second, where it took minutes: a server reads what anybody sends it."""
    source = "begin " + piece * (30_000 // len(piece)) + end
    before = time.process_time()
    for read in (markup_document, xml_document):
        document = read(source)
        filled(document, [block.text.replace("word", "wort") + " wort" for block in document.blocks])
    assert time.process_time() - before < 20
