"""Translations for the page: those of the translator, with parts whose words are certain, and alternatives."""

import math
from pathlib import Path
from typing import Any

import pytest

from clearhead.errors import DataError, UsageError
from clearhead.serve.http.body import Fields
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.native.translation import alternatives, answer, searched
from clearhead.serve.native.translation import translate as translating
from clearhead.tasks.translation.search.native import carried_out
from clearhead.tasks.translation.translator import Translator

TEXT = "这个比萨比那个好吃。\n我妹妹不骑自行车。"


def translate(translator: Translator, fields: Fields, aligner: Translator | None = None) -> dict[str, Any]:
    if aligner is None:
        return carried_out(translating(translator, fields, lambda pieces: None), translator.search)
    ranked = carried_out(searched(translator, fields, lambda pieces: None), translator.search)
    return answer(ranked, translator, aligner)


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return Translator.load(toy_run, device="cpu")


def test_it_is_the_translator_s_translation_in_parts(translator: Translator) -> None:
    (found,) = translate(translator, Fields({"text": TEXT}))["translations"]
    own = translator.translate(TEXT)
    assert (found["text"], found["score"], found["unmet"]) == (own.text, own.score, [])
    assert "".join(part["before"] + part["text"] for part in found["parts"]) == own.text
    assert [part["source"] for part in found["parts"]] == TEXT.split("\n")
    assert found["parts"][1]["before"] == "\n"
    for part, each in zip(found["parts"], own.of_parts, strict=True):
        assert part["log_probs"] == each.log_probs
        least = min(word["certainty"] for word in part["words"])
        assert least == pytest.approx(math.exp(min(each.log_probs[:-1])))


def test_words_come_from_where_their_pieces_look(translator: Translator) -> None:
    (found,) = translate(translator, Fields({"text": "他喝水。", "beam": 1}), translator)["translations"]
    (part,) = found["parts"]
    own = translator.aligned(translator.translate("他喝水。", beam=1))
    assert part["alignment"] == own.alignment
    assert all(word["sources"] == sorted(set(word["sources"])) for word in part["words"])
    looked = {number for word in part["words"] for number in word["sources"]}
    assert looked
    assert looked <= set(range(len(part["source_words"])))
    without = translate(translator, Fields({"text": "他喝水。"}))["translations"][0]["parts"][0]
    assert {tuple(word["sources"]) for word in without["words"]} == {()}


def test_phrases_are_asked_for_and_unmet_ones_told(translator: Translator) -> None:
    fields = {"text": "他喝水。", "require": ["tea"], "avoid": "water", "n_best": 2}
    for found in translate(translator, Fields(fields))["translations"]:
        assert "tea" in found["text"]
        assert "water" not in found["text"]
        assert found["unmet"] == []


def test_a_glossary_is_carried_out_where_its_sources_are(translator: Translator) -> None:
    fields = {
        "glossary": [["喝", "tea"], ["狗", "dog"]],
        "avoid_where": [["水", "water"], ["水", "drinks"], ["狗", "he"]],
    }
    (found,) = translate(translator, Fields({"text": "他喝水。", **fields}))["translations"]
    own = translator.translate("他喝水。", require=["tea"], avoid=["water", "Water", "drinks", "Drinks"])
    assert "tea" in found["text"].lower()
    assert (found["text"], found["unmet"]) == (own.text, [])
    for wrong in ("x", [["a"]], [["a", 1]], ["ab"], [["a", "b"]] * 1001):
        with pytest.raises(RequestError, match="glossary = "):
            translate(translator, Fields({"text": "x", "glossary": wrong}))
    with pytest.raises(DataError, match="entry 2: the source 'a' has another target"):
        translate(translator, Fields({"text": "x", "glossary": [["a", "b"], ["a", "c"]]}))


def test_an_empty_text_has_an_empty_translation(translator: Translator) -> None:
    (found,) = translate(translator, Fields({"text": " \n"}))["translations"]
    assert found["text"] == " \n"
    assert [part["words"] for part in found["parts"]] in ([[]], [])


def test_alternatives_differ_behind_the_prefix(translator: Translator) -> None:
    own = translator.translate("我妹妹不骑自行车。").text
    prefix = own[: own.index(" ")]
    found = alternatives(translator, Fields({"text": "我妹妹不骑自行车。", "prefix": prefix, "count": 4}))
    texts = [each["text"] for each in found["alternatives"]]
    assert len(set(texts)) == len(texts) == 4
    assert all(text.startswith(prefix) for text in texts)
    assert texts[0] == own
    shares = [each["probability"] for each in found["alternatives"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1
    assert [len(each["parts"]) for each in found["alternatives"]] == [1] * 4


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "text: is missing"),
        ({"text": 3}, "is a number, must be a string"),
        ({"text": "他", "beam": 17}, "whole number from 1 to 16"),
        ({"text": "他", "beam": True}, "whole number"),
        ({"text": "他", "require": [1]}, "strings"),
        ({"text": "他", "require": ["a"] * 65}, "at most 64"),
    ],
)
def test_wrong_fields_are_refused(translator: Translator, fields: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        translate(translator, Fields(fields))


def test_a_part_that_is_too_long_has_no_alternatives(translator: Translator) -> None:
    with pytest.raises(DataError):
        alternatives(translator, Fields({"text": "我" * 200}))


def test_a_part_says_what_was_read_before_it(stories: Path) -> None:
    """And alternatives are those of the part behind it; words point to its own words alone."""
    reading = Translator.load(stories / "run", device="cpu")
    (found,) = translate(reading, Fields({"text": "它跑了。\n它睡了。", "context": "狗来了。"}), reading)[
        "translations"
    ]
    first, second = found["parts"]
    assert [part["text"] for part in found["parts"]] == ["the dog runs.", found["text"].split("\n")[1]]
    assert (first["source"], first["context"], first["before"]) == ("它跑了。", "狗来了。", "")
    assert (second["context"], second["before"]) == ("它跑了。", "\n")
    assert first["source_pieces"][first["context_pieces"] - 1] == "<ctx>"
    dog, runs = first["words"][1:3]
    assert dog["sources"] == [], "it is in the line before"
    assert runs["sources"] != []
    asked = {"text": first["source"], "context": first["context"], "prefix": "the"}
    best = alternatives(reading, Fields(asked))["alternatives"][0]
    assert best["text"] == first["text"]
    assert (
        alternatives(reading, Fields({**asked, "context": "马来了。"}))["alternatives"][0]["text"] == "the horse runs."
    )


def test_context_for_a_model_that_reads_none_is_refused(translator: Translator) -> None:
    with pytest.raises(UsageError, match="context: the model reads none"):
        translate(translator, Fields({"text": TEXT, "context": "a"}))
