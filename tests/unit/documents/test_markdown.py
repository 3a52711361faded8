"""Markdown: all but prose stays byte for byte, in this project's own pages too; in another language it parses alike."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from clearhead.documents.blocks import Block
from clearhead.documents.markdown import escaped, markdown_document
from clearhead.documents.placing import written

ROOT = Path(__file__).resolve().parents[3]
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/zh/*.md")])


def blocks(text: str) -> list[str]:
    return [block.text for block in markdown_document(text).blocks]


def shouted(text: str, change: object = str.upper) -> str:
    assert callable(change)
    document = markdown_document(text)
    return document.having([written(block, change(block.text)) for block in document.blocks])


def skeleton(text: str) -> list[str]:
    """What a text is made of, without its prose and where its lines end."""
    kinds = []
    for token in PARSER.parse(text):
        inside = [
            f"{each.type} {each.attrs} {each.content * (each.type in ('code_inline', 'html_inline', 'image'))}"
            for each in token.children or []
            if each.type not in ("text", "softbreak")
        ]
        kept = token.content if token.type in ("fence", "code_block") else ""
        kinds.append(f"{token.type} {token.level} {token.markup} {kept}")
        kinds += sorted(inside)
    return kinds


@pytest.mark.parametrize(
    ("text", "expected", "loud"),
    [
        ("a *b* c", ["a b c"], "A *B* C"),
        ("**a _b_** __c__ ***d***", ["a b c d"], "**A _B_** __C__ ***D***"),
        ("see [the *page*](x.md 'y'), ok", ["see the page, ok"], "SEE [THE *PAGE*](x.md 'y'), OK"),
        ("[a][r] and [b]\n\n[b]: x\n[r]: y", ["a and b"], "[A][r] AND [B]\n\n[b]: x\n[r]: y"),
        ("run `a b` now", ["run a b now"], "RUN `a b` NOW"),
        ("as [`a b`](x.md) *`c`* does", ["as a b c does"], "AS [`a b`](x.md) *`c`* DOES"),
        ("<br>**x**![y](z) k", ["x k"], "<br>**X**![y](z) K"),
        ("[http://a.b](http://a.b) c", ["http://a.b c"], "[http://a.b](http://a.b) C"),
        ("a ![b](c) d", ["a d"], "A ![b](c) D"),
        ("at <http://a.b/c> and http://d.e/f_g.", None, "AT <http://a.b/c> AND http://d.e/f_g."),
        ("a &amp; b \\* c", ["a & b * c"], "A & B \\* C"),
        ("# a `b` #\n\nc\n=\n", ["a b", "c"], "# A `b` #\n\nC\n=\n"),
        ("> a\n> b\n>> c", ["a b", "c"], "> A\n> B\n>> C"),
        ("- a\n  b\n\n  c\n1. d\n   - [x] e", ["a b", "c", "d", "e"], "- A\n  B\n\n  C\n1. D\n   - [x] E"),
        ("| a | b `c` |\n|--:|---|\n| d | *e* |", ["a", "b c", "d", "e"], "| A | B `c` |\n|--:|---|\n| D | *E* |"),
        ("a  \nb\\\nc", ["a", "b", "c"], "A  \nB\\\nC"),
        ("a <b>c</b> <br> d", ["a c d"], "A <b>C</b> <br> D"),
        ("<div>\n<b>a</b> c\n</div>\n\nd", ["a c", "d"], "<div>\n<b>A</b> C\n</div>\n\nD"),
        ("---\ntitle: a\n---\nb", ["b"], "---\ntitle: a\n---\nB"),
        ("+++\na = 1\n+++\n", [], "+++\na = 1\n+++\n"),
        ("```py\na = 1\n```\n\n    b\n\n***\n12. 34", [], "```py\na = 1\n```\n\n    b\n\n***\n12. 34"),
        ("a\r\nb\r\n\r\n- c\r\n", ["a b", "c"], "A\r\nB\r\n\r\n- C\r\n"),
        ("a\rb\r\r```\rc\r```\r\r# d\r\r\ne", ["a b", "d", "e"], "A\rB\r\r```\rc\r```\r\r# D\r\r\nE"),
        ("~~a~~ snake_case 2*3", ["a snake_case 2*3"], "~~A~~ SNAKE_CASE 2\\*3"),
        ("", [], ""),
    ],
)
def test_what_is_prose(text: str, expected: list[str] | None, loud: str) -> None:
    assert expected is None or blocks(text) == expected
    assert shouted(text) == loud
    assert shouted(text, str) == text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_of_this_project_keep_all_that_is_not_prose(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert shouted(text, str) == text
    assert markdown_document(text).having([block.raw for block in markdown_document(text).blocks]) == text
    # a mark before each text: nothing is the same, and all lines are there
    loud = shouted(text, lambda prose: prose.swapcase())
    assert loud.count("\n") == text.count("\n")
    assert skeleton(loud) == skeleton(text)


PARTS = st.sampled_from(
    ["a", "word", "*", "**", "_", "`", "[", "]", "](x)", "![", "<b>", "</b>", "<", ">", "&amp;", "\\", "~~", "|", "\n",
     "\n\n", "\n> ", "\n- ", "\n1. ", "  \n", "\n# ", "\n    ", "```", "---", " ", "我", "\r\n", "<br>", "\t", "\r",
     "http://a.b/c"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=14).map("".join))
def test_whatever_the_text_with_its_own_prose_it_is_the_same(text: str) -> None:
    document = markdown_document(text)
    assert document.having([block.raw for block in document.blocks]) == text
    assert shouted(text, str) == text
    shouted(text)


def test_what_is_written_is_no_markup() -> None:
    block = Block("a", "a", escape=escaped)
    assert written(block, "*b* `c` [d] <e> _f_ g_h |") == "\\*b\\* \\`c\\` \\[d\\] \\<e> \\_f\\_ g_h \\|"
    for text in ("# b", "- b", "1. b", "> b", "+ b", "--- b", "=== b"):
        (block,) = markdown_document("a b").blocks
        assert [token.type for token in PARSER.parse(written(block, text))] == [
            "paragraph_open",
            "inline",
            "paragraph_close",
        ]
