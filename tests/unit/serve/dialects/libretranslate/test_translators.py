"""Translators: texts, lines and markup come back in their order, and languages that are not translated are named."""

from typing import Any

from tests.serving import Asking

A, B = "我们今天在家。", "她在吗？"


def translated(asking: Asking, q: Any, **more: Any) -> Any:
    answer = asking.post("/translate", {"q": q, "source": "zh", "target": "en", **more})
    assert answer.status == 200, answer.text
    return answer.json["translatedText"]


def test_texts_and_lines_are_translated_one_by_one(toy_asking: Asking) -> None:
    a, b = translated(toy_asking, A), translated(toy_asking, B)
    assert a
    assert b
    assert a != b
    assert translated(toy_asking, [A, B, "", A]) == [a, b, "", a]
    assert translated(toy_asking, f"{A}\n\n{B}\n") == f"{a}\n\n{b}"
    assert translated(toy_asking, [f"{A}\n{B}", B]) == [f"{a}\n{b}", b]
    assert translated(toy_asking, [A, B], source="auto") == [a, b]


def test_markup_is_translated_between_its_tags(toy_asking: Asking) -> None:
    a, b = (translated(toy_asking, text) for text in (A, B))
    assert "<" not in a + b
    assert "&" not in a + b
    page = f"<h1 title='{A}'>{A}</h1>\n<p> {B}<!-- {A} --></p><code>{A}</code>"
    assert translated(toy_asking, page, format="html") == page.replace(f">{A}</h1>", f">{a}</h1>").replace(
        f" {B}<", f" {b}<"
    )
    assert translated(toy_asking, ["<br>", f"<i>{B}</i>"], format="html") == ["<br>", f"<i>{b}</i>"]
    assert translated(toy_asking, "<br>", format="html") == "<br>"


def test_alternatives_are_other_translations(toy_asking: Asking) -> None:
    asked = {"q": [A, f"{A}\n{B}"], "source": "zh", "target": "en", "alternatives": 3}
    for extra in ({}, {"format": "html"}):
        answer = toy_asking.post("/translate", {**asked, **extra}).json
        for best, others in zip(answer["translatedText"], answer["alternatives"], strict=True):
            assert len({best, *others}) == len(others) + 1 == 4
    assert translated(toy_asking, A) == toy_asking.post("/translate", asked).json["translatedText"][0]
    one = toy_asking.post("/translate", {**asked, "q": A, "alternatives": 1}).json
    assert isinstance(one["alternatives"], list)
    assert isinstance(one["alternatives"][0], str)


def test_other_languages_are_named(toy_asking: Asking) -> None:
    for pair, message in (
        (("zh", "fr"), "fr is not supported"),
        (("fr", "en"), "fr is not supported"),
        (("en", "zh"), "en is not supported"),
        (("auto", "zh"), "zh is not supported"),
        (("x" * 99, "en"), "x" * 20 + " is not supported"),
    ):
        for kind in ("text", "html"):
            body = {"q": "<br>", "source": pair[0], "target": pair[1], "format": kind}
            answer = toy_asking.post("/translate", body)
            assert (answer.status, answer.json) == (400, {"error": message})
