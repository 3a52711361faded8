"""DeepL's translations: options, languages, usage, glossaries that are carried out or said to be unmet."""

from pathlib import Path
from typing import Any

import pytest

from tests.serving import FORM, Asking, asking, site_of

A, B = "我们今天在家。", "她在吗？"
GOOD: dict[str, Any] = {"text": [A], "target_lang": "EN-US"}


def texts(asking: Asking, **change: Any) -> list[str]:
    answer = asking.post("/v2/translate", {**GOOD, **change})
    assert answer.status == 200, answer.text
    return [each["text"] for each in answer.json["translations"]]


def test_texts_are_translated_and_counted(toy_asking: Asking) -> None:
    before = toy_asking.get("/v2/usage").json["character_count"]
    answer = toy_asking.post("/v2/translate", {**GOOD, "text": [A, "", B]}).json["translations"]
    assert [each["billed_characters"] for each in answer] == [len(A), 0, len(B)]
    assert {each["detected_source_language"] for each in answer} == {"ZH"}
    plain = toy_asking.post("/translate", {"q": [A, "", B], "source": "zh", "target": "en"}).json["translatedText"]
    assert [each["text"] for each in answer] == plain
    assert toy_asking.post("/v2/usage", {}).json["character_count"] == before + len(A) + len(B)


def test_a_form_may_repeat_its_text(toy_asking: Asking) -> None:
    answer = toy_asking.post("/v2/translate", "text=%E6%88%91&text=%E6%88%91%E4%BB%AC&target_lang=en-gb", headers=FORM)
    assert [each["billed_characters"] for each in answer.json["translations"]] == [1, 2]


def test_newlines_split_or_do_not(toy_asking: Asking) -> None:
    (a,), (b,), (both,) = texts(toy_asking), texts(toy_asking, text=[B]), texts(toy_asking, text=[f"{A} {B}"])
    assert texts(toy_asking, text=[f"{A}\r\n\n{B}"]) == [f"{a}\n\n{b}"]
    assert texts(toy_asking, text=[f"{A}\n{B}"], split_sentences="nonewlines") == [both]
    for off in ("0", 0, False):
        assert "\n" not in texts(toy_asking, text=[f"{A}\n{B}"], split_sentences=off)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": None}, "text: is missing"),
        ({"text": []}, "text = []: must be 1 to 50 texts"),
        ({"text": ["a"] * 51}, 'text = ["a", '),
        ({"target_lang": None}, "Value for 'target_lang' not supported."),
        ({"target_lang": "FR"}, "Value for 'target_lang' not supported."),
        ({"source_lang": "FR"}, "Value for 'source_lang' not supported."),
        ({"source_lang": "EN"}, "Value for 'source_lang' not supported."),
        ({"formality": "less"}, "formality 'less' is not supported"),
        ({"tag_handling": "pdf"}, "Value for 'tag_handling' not supported."),
        ({"tag_handling": "xml", "outline_detection": "01"}, 'outline_detection = "01": must be 0, 1'),
        ({"tag_handling": "xml", "ignore_tags": [1]}, "ignore_tags = [1]"),
        ({"tag_handling": "html", "text": "<br>" * 4001}, "text: a text has 4001 tags, at most 4000"),
        ({"split_sentences": "2"}, 'split_sentences = "2"'),
        ({"split_sentences": ["1"]}, 'split_sentences = ["1"]'),
        ({"style_id": "x"}, "style_id is not supported"),
        ({"custom_instructions": ["x"]}, "custom_instructions is not supported"),
        ({"glossary_id": "x", "source_lang": "ZH"}, "Glossary not found: x"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], message: str, toy_asking: Asking) -> None:
    answer = toy_asking.post("/v2/translate", {**GOOD, **change})
    assert answer.status == (404 if "not found" in message else 400)
    assert answer.json["message"].startswith(message)


def test_what_changes_nothing_is_let_through(toy_asking: Asking) -> None:
    extra = {
        "context": "a talk",
        "preserve_formatting": True,
        "formality": "prefer_less",
        "model_type": "quality_optimized",
    }
    assert texts(toy_asking, **extra) == texts(toy_asking)


def test_tags_stay_around_what_they_are_about(toy_asking: Asking) -> None:
    (a,), (b,), (both,) = texts(toy_asking), texts(toy_asking, text=[B]), texts(toy_asking, text=[A + B])
    page = "<h1 title='{0}'>{0}</h1>\n<p> <b>{1}</b><!-- {0} --></p><code>{0}</code>"
    (found,) = texts(toy_asking, text=[page.format(A, B)], tag_handling="html")
    assert found == page.replace("<code>{0}</code>", f"<code>{A}</code>").replace("'{0}'", f"'{A}'").replace(
        "<!-- {0} -->", f"<!-- {A} -->"
    ).format(a, b)
    whole = f"{A[:3]}<x id='1'/>{A[3:]}"
    (found,) = texts(toy_asking, text=[whole], tag_handling="xml")
    assert found.count("<x id='1'/>") == 1
    assert "".join(found.split("<x id='1'/>")).split() == a.split()
    parted = f"<r><s>{A}</s><s>{B}</s></r>"
    assert texts(toy_asking, text=[parted], tag_handling="xml") == [f"<r><s>{a}</s><s>{b}</s></r>"]
    for joined in ({"outline_detection": 0}, {"non_splitting_tags": "s,r"}):
        (found,) = texts(toy_asking, text=[parted], tag_handling="xml", **joined)
        assert "".join(found.replace("</s>", "").replace("<s>", " ").split()) == f"<r>{''.join(both.split())}</r>"
    ignored = texts(toy_asking, text=[f"<s>{A}</s>"], tag_handling="xml", ignore_tags=["S"])
    assert ignored == [f"<s>{A}</s>"]
    assert texts(toy_asking, text=["<br/>", ""], tag_handling="html") == ["<br/>", ""]


def test_languages_are_told(toy_asking: Asking) -> None:
    source = [{"language": "ZH", "name": "Chinese"}]
    assert toy_asking.get("/v2/languages").json == toy_asking.post("/v2/languages", {"type": "source"}).json == source
    written = toy_asking.get("/v2/languages?type=target").json
    assert [(each["language"], each["name"]) for each in written] == [
        ("EN-US", "English (US)"),
        ("EN-GB", "English (GB)"),
    ]
    assert not any(each["supports_formality"] for each in written)
    assert toy_asking.ask("GET", "/v2/languages", "type=target", FORM).json == written, (
        "the client sends it in the body"
    )
    assert toy_asking.get("/v2/languages?type=x").status == 400


def made(asking: Asking, entries: str) -> str:
    body = {"name": "g", "source_lang": "ZH", "target_lang": "EN", "entries": entries}
    identity: str = asking.post("/v2/glossaries", body).json["glossary_id"]
    return identity


def test_a_glossary_is_carried_out_line_by_line(toy_asking: Asking) -> None:
    identity = made(toy_asking, "今天\twine\n没有\tnothing")
    bound = {"source_lang": "ZH", "glossary_id": identity}
    (both,) = texts(toy_asking, text=[f"{A}\n{B}"], **bound)
    first, second = both.split("\n")
    assert "wine" in first
    assert second == texts(toy_asking, text=[B])[0]
    assert texts(toy_asking, text=[B], **bound) == [second]


def test_what_cannot_be_met_is_said(toy_asking: Asking) -> None:
    words = "wine " * 60
    identity = made(toy_asking, f"今天\t{words}")
    answer = toy_asking.post("/v2/translate", {**GOOD, "source_lang": "ZH", "glossary_id": identity})
    assert answer.headers["x-clearhead-unmet"] == "1"
    assert answer.json["translations"][0]["unmet_glossary_entries"] == [words.strip()]


def test_a_glossary_needs_its_pair(toy_asking: Asking) -> None:
    identity = made(toy_asking, "a\tb")
    answer = toy_asking.post("/v2/translate", {**GOOD, "glossary_id": identity})
    assert answer.json == {"message": "Use of a glossary requires the source_lang parameter to be specified"}


def test_a_server_without_translators_says_so(toy_lm_run: Path) -> None:
    with site_of([f"lm={toy_lm_run}"]) as site:
        ask = asking(site)
        assert ask.get("/v2/languages").json == ask.get("/v2/languages?type=target").json == []
        assert ask.post("/v2/translate", GOOD).json == {"message": "Value for 'target_lang' not supported."}
