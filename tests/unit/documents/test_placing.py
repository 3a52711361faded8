"""Markup in a translation: each mark once, well nested, around the words that come from its own; breaks by shares."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.documents.blocks import Block, Break, Span
from clearhead.documents.markup import inline
from clearhead.documents.placing import Link, diagonal, written

SOURCE = "the brown dog sees the black cat"


def placed(source: str, text: str, comes: dict[str, str]) -> str:
    """Writes a translation of words, each of which comes from a word of the source."""
    block = inline(source, entities=True, breaks=False)
    assert block is not None
    links = []
    for match in re.finditer(r"\S+", text):
        begin = block.text.find(comes[match[0]]) if comes.get(match[0]) else -1
        links.append(Link(match.start(), match.end(), (begin + 0.5,) if begin >= 0 else ()))
    return written(block, text, links)


COMES = {"noir": "black", "chat": "cat", "brun": "brown", "chien": "dog", "voit": "sees", "le": "the", "code": "code"}


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("the <b>brown</b> dog sees the <i>black cat</i>", "le chien brun voit le chat noir",
         "le chien <b>brun</b> voit le <i>chat noir</i>"),
        ("the <a href=x>brown <b>dog</b></a> sees the black cat", "le chien brun voit le chat noir",
         "le <a href=x><b>chien</b> brun</a> voit le chat noir"),
        ("<b>the brown dog sees the black cat</b>", "le chien brun", "<b>le chien brun</b>"),
        # words of a span that are apart: the longest run
        ("the <b>black cat</b> sees the dog", "noir voit le chat noir chien", "noir voit le <b>chat noir</b> chien"),
        # no word comes from it: the nearest
        ("the brown dog <b>sees</b> the black cat", "le chien brun le chat noir", "le chien brun <b>le</b> chat noir"),
        # what is kept takes the place of its words, and else stands behind what comes before it
        ("the dog sees <code>code</code> the cat", "le chien voit code chat", "le chien voit <code>code</code> chat"),
        ("the dog <code>x()</code> sees the cat", "le chien voit chat", "le chien <code>x()</code> voit chat"),
        ("the dog <img src=x> sees the cat", "le chien voit chat", "le chien <img src=x> voit chat"),
        ("the dog sees.<!-- c -->", "le chien voit", "le chien voit<!-- c -->"),
        ("<br>the dog", "le chien", "<br>le chien"),
        ("the <b>dog sees", "le chien voit", "le <b>chien voit"),
        ("the dog</b> sees", "le chien voit", "le chien</b> voit"),
        ("the <b>dog</b>", "", "<b></b>"),
        ("the dog &amp; cat", "le chien < chat", "le chien &lt; chat"),
    ],
)  # fmt: skip
def test_marks_go_with_their_words(source: str, text: str, expected: str) -> None:
    assert placed(source, text, {**COMES, "<": ""}) == expected


def test_a_text_that_stays_is_written_as_it_was() -> None:
    block = Block("a  b", "a &amp;\n b", (Span(0, 1, "<b>", "</b>"),))
    assert written(block, "a  b") == "a &amp;\n b"


def test_breaks_share_a_text_out() -> None:
    block = Block("one two three four five six", "", breaks=(Break(7, "\n> "), Break(18, "\n")))
    assert written(block, "eins zwei drei vier fünf sechs") == "eins zwei\n> drei vier\nfünf sechs"
    assert written(block, "eins zwei") == "eins\n> zwei", "a line that has no words is not there"
    assert written(block, "") == ""
    assert written(block, "你好我们今天在家里吃饭") == "你好我\n> 们今天在\n家里吃饭"
    must = Block("one two", "", breaks=(Break(3, "\n\n2\n", must=True),))
    assert written(must, "eins") == "eins\n\n2\n"
    # no line begins with what would be a bullet, a heading, a number
    assert written(Block("one two", "", breaks=(Break(3, "\n"),)), "eins - zwei drei") == "eins -\nzwei drei"
    assert written(Block("one two", "", breaks=(Break(3, "\n"),)), "es ist 3. Mai 1900") in (
        "es ist 3.\nMai 1900",
        "es\nist 3. Mai 1900",
    )


def test_guessed_links_go_along_the_diagonal() -> None:
    assert [(link.begin, link.end) for link in diagonal("a b, 我们", "abcdefgh")] == [
        (0, 1),
        (2, 3),
        (3, 4),
        (5, 6),
        (6, 7),
    ]
    assert [round(link.sources[0], 2) for link in diagonal("ab cd", "vwxyz")] == [1.0, 4.0]
    assert diagonal("", "x") == []


TAGS = st.sampled_from(
    ["<b>", "</b>", "<i>", "</i>", "<img>", "<code>x y</code>", "one", "two", " ", "three ", "&lt;", "<!-- -->"]
)


@settings(deadline=None)
@given(
    st.lists(TAGS, max_size=12).map("".join),
    st.lists(st.sampled_from(["eins", "zwei", "drei"]), max_size=6),
    st.randoms(),
)
def test_each_mark_is_there_once_and_words_in_their_order(source: str, words: list[str], random: object) -> None:
    block = inline(source, entities=True, breaks=False)
    if block is None:
        return
    text = " ".join(words)
    links = [
        Link(match.start(), match.end(), (random.uniform(0, len(block.text)),))  # type: ignore[attr-defined]
        for match in re.finditer(r"\S+", text)
    ]
    result = written(block, text, links)
    if text == block.text:
        return
    pattern = re.compile(r"<code>x y</code>|<!-- -->|</?\w+>")
    assert sorted(pattern.findall(result)) == sorted(pattern.findall(source))
    rest = pattern.sub(" ", result).split()
    kept = sum(span.kept and span.begin < span.end for span in block.spans)
    assert rest == words if not kept else len(rest) <= len(words)
    # a pair that was one in the source is one again, and none of them cross
    if all(span.closing for span in block.spans):
        open_tags: list[str] = []
        for tag in re.findall(r"</?[bi]>", result):
            if tag[1] != "/":
                open_tags.append(tag[1])
            else:
                assert open_tags.pop() == tag[2]
