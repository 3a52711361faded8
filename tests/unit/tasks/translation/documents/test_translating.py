"""Documents: each block as it is translated alone, markup by attention, and nothing lost where a block fails."""

from pathlib import Path

import pytest

from clearhead.decode.hypotheses import SearchConfig
from clearhead.documents.placing import Link
from clearhead.documents.words import Word
from clearhead.errors import DataError, ModelError
from clearhead.tasks.translation.documents.facing import Facing
from clearhead.tasks.translation.documents.translating import FORMATS, linked, translate_document
from clearhead.tasks.translation.translator import Translator
from tests.native import NATIVE

A, B = "我们今天在家。", "她在吗？"
CONFIG = SearchConfig(beam=2)


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return Translator.load(toy_run, device="cpu")


def line(translator: Translator, text: str) -> str:
    return translator.translate(text, beam=2).text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("txt", "{a}\n\n- {b}\n123\n"),
        ("md", "---\nx: y\n---\n# {a}\n\n- {b}\n\n```\n" + A + "\n```\n"),
        ("html", "<h1 class=x>{a}</h1><script>" + A + "</script><p>{b}</p>"),
        ("srt", "1\n00:00:01,000 --> 00:00:02,500\n{a}\n\n2\n00:00:03,000 --> 00:00:04,000\n{b}\n"),
    ],
)
def test_blocks_are_translated_and_all_else_stays(kind: str, text: str, translator: Translator) -> None:
    assert kind in FORMATS
    made = translate_document(translator, text.format(a=A, b=B), kind, CONFIG)  # type: ignore[arg-type]
    assert made.text == text.format(a=line(translator, A), b=line(translator, B))
    assert made.blocks == [A, B]
    assert [each is not None and each.text for each in made.translations] == [line(translator, A), line(translator, B)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("txt", "- {b}\n123\n"),
        ("txt", "  {b}\n"),
        ("md", "# {b}\n"),
        ("md", "- {b}\n\n1. {b}\n"),
        ("md", "```\n" + A + "\n```\n\n{b}\n"),
        ("md", "---\nx: y\n---\n{b}\n"),
        ("html", "{b}<p>{b}</p>\n"),
        ("srt", "1\n00:00:01,000 --> 00:00:02,500\n{b}\n"),
    ],
)
def test_a_byte_order_mark_is_no_part_of_the_first_line(kind: str, text: str, end: str, translator: Translator) -> None:
    source = text.replace("\n", end)
    made = translate_document(translator, "\ufeff" + source.format(b=B), kind, CONFIG)  # type: ignore[arg-type]
    assert made.text == "\ufeff" + source.format(b=line(translator, B))
    assert set(made.blocks) == {B}


@pytest.mark.parametrize("engine", ["torch", pytest.param("native", marks=NATIVE)])
def test_marks_are_where_the_model_looks(engine: str, toy_run: Path) -> None:
    translator = Translator.load(toy_run, device="cpu", engine=engine)  # type: ignore[arg-type]
    whole = translator.translate(A, beam=2, alignment=True)
    made = translate_document(translator, f"我们**今天**在家。\n\n**{A}**", "md", CONFIG)
    first, second = made.text.split("\n\n")
    assert first.replace("**", "") == whole.text
    assert first.count("**") == 2
    assert second == f"**{whole.text}**"


def test_words_come_from_where_their_pieces_look() -> None:
    # three bytes of a character in three pieces, of which the last has its place
    places, own = [(0, 1), (1, 2), (2, 2), (2, 2), (2, 3)], [Word(0, 2, 0, 1), Word(2, 3, 2, 2), Word(4, 5, 3, 3)]
    assert linked(Facing("我们今", places, own, [1, 3, 5, 4]), 10, 20) == [
        Link(20, 22, (11.0, 12.0)),
        Link(22, 23, ()),  # at the end mark
        Link(24, 25, (12.0,)),
    ]


def test_without_attention_marks_are_guessed(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_attention(*_: object, **__: object) -> None:
        raise ModelError("no attention")

    monkeypatch.setattr(Translator, "aligned", no_attention)
    made = translate_document(translator, "<p>我们<b>今天</b>在家。</p>", "html", CONFIG)
    assert made.text.replace("<b>", "").replace("</b>", "") == f"<p>{line(translator, A)}</p>"
    assert made.text.count("<b>") == made.text.count("</b>") == 1


def test_a_block_that_fails_stays_and_is_told(translator: Translator) -> None:
    told: list[tuple[int, str]] = []
    long = "我" * 70
    text = f"{A}\n\n{long}\n\n{B}\n"
    options = {"overlong": "error", "on_error": lambda number, error: told.append((number, str(error)))}
    made = translate_document(translator, text, "txt", CONFIG, **options)
    assert made.text == f"{line(translator, A)}\n\n{long}\n\n{line(translator, B)}\n"
    assert [number for number, _ in told] == [1]
    assert "pieces, the model takes" in told[0][1]
    with pytest.raises(DataError):
        translate_document(translator, text, "txt", CONFIG, overlong="error")


def test_many_blocks_go_in_batches_and_are_counted(translator: Translator) -> None:
    counts: list[tuple[int, int]] = []
    made = translate_document(
        translator, f"{B}\n" * 300, "txt", SearchConfig(beam=1), on_done=lambda *count: counts.append(count)
    )
    assert counts == [(256, 300), (300, 300)]
    assert len(set(made.text.splitlines())) == 1
    assert len(made.text.splitlines()) == 300


def test_a_glossary_goes_with_documents(translator: Translator) -> None:
    made = translate_document(translator, f"# {A}\n", "md", CONFIG, glossary={"今天": "zebra"})
    assert "zebra" in made.text.lower()
