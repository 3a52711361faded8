"""Subtitles: numbers and times stay, a sentence is one though it goes through cues, and each cue has its share."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.documents.placing import written
from clearhead.documents.subtitles import subtitles_document

TIME = "00:00:01,000 --> 00:00:02,500"


def film(*cues: str, end: str = "\n") -> str:
    return "".join(f"{number}{end}{TIME}{end}{cue}{end}{end}" for number, cue in enumerate(cues, 1))


def blocks(text: str) -> list[str]:
    return [block.text for block in subtitles_document(text).blocks]


def shouted(text: str) -> str:
    document = subtitles_document(text)
    return document.having([written(block, block.text.upper()) for block in document.blocks])


@pytest.mark.parametrize(
    ("cues", "expected", "loud"),
    [
        (["Hello.", "Who is\nthere?"], ["Hello.", "Who is there?"], ["HELLO.", "WHO IS\nTHERE?"]),
        (["I went", "to the old house", "again."], ["I went to the old house again."],
         ["I WENT", "TO THE OLD HOUSE", "AGAIN."]),
        (["a", "b", "c", "d", "e."], ["a b c d", "e."], ["A", "B", "C", "D", "E."]),
        (["- Who?\n- Me, and"], ["Who?", "Me, and"], ["- WHO?\n- ME, AND"]),
        (["so we", "- No!"], ["so we", "No!"], ["SO WE", "- NO!"]),
        (["<i>Two\nlines</i>", "then"], ["Two lines", "then"], ["<i>TWO\nLINES</i>", "THEN"]),
        (["{\\an8}<b>Up</b> there"], ["Up there"], ["{\\an8}<b>UP</b> THERE"]),
        (["{\\an8}so we", "{\\pos(1,2)}go."], ["so we go."], ["{\\an8}SO WE", "{\\pos(1,2)}GO."]),
        (["{i}dogs{/i}\\Ncame."], ["dogs came."], ["{i}DOGS{/i}\\NCAME."]),
        (["{\\i1}dogs{\\i0} came{\\fad(1,2)}"], ["dogs came"], ["{\\i1}DOGS{\\i0} CAME{\\fad(1,2)}"]),
        (["狗\\N来了\n。"], ["狗来了。"], None),
        (["a {b c", "d} e"], ["a {b c", "d} e"], ["A {B C", "D} E"]),
        (["- I ate\nan apple.\n- A dog."], ["I ate an apple.", "A dog."], ["- I ATE\nAN APPLE.\n- A DOG."]),
        (["A.\n- B\nb.\n- C."], ["A.", "B b.", "C."], ["A.\n- B\nB.\n- C."]),
        (["so we", "go.\n- No, we", "stay."], ["so we go.", "No, we stay."], ["SO WE", "GO.\n- NO, WE", "STAY."]),
        (["- A dog\nor two."], ["A dog or two."], ["- A DOG\nOR TWO."]),
        (["A dog -\nor two."], ["A dog - or two."], ["A DOG -\nOR TWO."]),
        (["now it is\n-5 outside"], ["now it is -5 outside"], None),
        (["{\\an8}- A.\\N- B."], ["A.", "B."], ["{\\an8}- A.\\N- B."]),
        (["<i>- a.</i>\n<i>- b.</i>"], ["a.", "b."], ["<i>- A.</i>\n<i>- B.</i>"]),
        (["see http://a.b/c", "or d."], ["see http://a.b/c or d."], ["SEE http://a.b/c", "OR D."]),
        (["<i>dogs</i>\ncame.", "{i}a{/i}"], ["dogs came.", "a"], ["<i>DOGS</i>\nCAME.", "{i}A{/i}"]),
        (["12"], [], ["12"]),
        (["a & b < c"], ["a & b < c"], ["A & B < C"]),
        (["今天我们去", "学校。"], ["今天我们去学校。"], ["今天我们去", "学校。"]),
    ],
)  # fmt: skip
def test_cues_and_sentences(cues: list[str], expected: list[str], loud: list[str] | None) -> None:
    for end in ("\n", "\r\n"):
        text = film(*(cue.replace("\n", end) for cue in cues), end=end)
        assert blocks(text) == expected
        document = subtitles_document(text)
        assert document.having([block.raw for block in document.blocks]) == text
        if loud is not None:
            assert shouted(text) == film(*(cue.replace("\n", end) for cue in loud), end=end)


def test_each_cue_has_its_share_of_another_language() -> None:
    text = film("I have been looking", "for you all day\nand all night long.")
    document = subtitles_document(text)
    (block,) = document.blocks
    said = document.having([written(block, "eins zwei drei vier fünf sechs sieben acht neun")])
    assert said == film("eins zwei drei", "vier fünf sechs\nsieben acht neun")
    # with fewer words than places every cue is still there, and no line is empty inside of one
    assert document.having([written(block, "ja")]) == film("ja", "")
    assert document.having([written(block, "ja gut")]) == film("ja", "gut")


PARTS = st.sampled_from(
    [
        "a",
        "word ",
        ".",
        "<i>",
        "</i>",
        "{x}",
        "{i}",
        "{/i}",
        "{\\an8}",
        "\\N",
        "- ",
        "-",
        "5",
        "\n",
        "\n\n",
        "\r\n",
        "1\n",
        f"\n{TIME}\n",
        f"\n\n2\n{TIME}\n",
        "我",
        "&amp;",
    ]
)


def test_what_has_letters_but_no_words_ends_a_sentence() -> None:
    document = subtitles_document(film("a word", "&amp;"))
    assert [block.text for block in document.blocks] == ["a word"]
    assert document.having([written(document.blocks[0], "ein Wort")]) == film("ein Wort", "&amp;")


@settings(deadline=None)
@given(st.lists(PARTS, max_size=16).map("".join))
def test_whatever_the_text_its_times_stay(text: str) -> None:
    document = subtitles_document(text)
    assert document.having([written(block, block.text) for block in document.blocks]) == text
    assert shouted(text).count(TIME) == text.count(TIME)
