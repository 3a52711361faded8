"""Which translator takes a text, and in which language a text is."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.serve.dialects.languages import base, detect, name_of, read_share, sources, targets, translator_for
from clearhead.tasks.translation.translator import Translator
from tests.serving import asking, site_of


def test_codes_have_a_base() -> None:
    assert [base(code) for code in ("EN-GB", "zh_Hans", "pt", "ZH-hant-TW")] == ["en", "zh", "pt", "zh"]
    assert [name_of(code) for code in ("EN-GB", "yue", "tlh")] == ["English", "Cantonese", "tlh"]


def test_a_translator_is_found_by_its_pair(toy_site: Any) -> None:
    mt = toy_site.models.get("mt")
    assert translator_for(toy_site, "zh", "en") is mt
    assert translator_for(toy_site, "ZH-Hans", "EN-US") is mt
    assert translator_for(toy_site, None, "en", "我") is mt
    assert translator_for(toy_site, "en", "zh") is None
    assert translator_for(toy_site, "zh", "fr") is None


def test_languages_are_told_once(toy_site: Any) -> None:
    assert [language.code for language in sources(toy_site)] == ["zh"]
    assert [language.code for language in targets(toy_site)] == ["en"]
    assert [language.code for language in targets(toy_site, "zh")] == ["en"]
    assert targets(toy_site, "fr") == []


def test_a_text_is_read_as_far_as_it_is_known(toy_site: Any) -> None:
    mt = toy_site.models.get("mt")
    assert read_share(mt, "我们今天在家。") > 0.9
    assert read_share(mt, "Only English here") == read_share(mt, "a") == read_share(mt, "OK!") == 0.0
    assert read_share(mt, "") == read_share(mt, " \n") == 0.0
    (guess,) = detect(toy_site, "我们今天在家。")
    assert guess.code == "zh"
    assert 90 < guess.confidence <= 100
    assert detect(toy_site, "我", "fr") == []


@pytest.mark.parametrize("text", ["", "123", "\U0001f600", "x" * 100_000])
def test_any_text_may_be_asked_for(text: str, toy_site: Any) -> None:
    (guess,) = detect(toy_site, text)
    assert 0 <= guess.confidence <= 100


def test_a_server_without_translators_knows_no_language(toy_lm_run: Path) -> None:
    with site_of([f"lm={toy_lm_run}"]) as site:
        assert detect(site, "我") == sources(site) == targets(site) == []
        assert translator_for(site, None, "en", "我") is None


def test_a_translator_of_several_directions_is_served_as_one_for_each(two_ways: Path) -> None:
    """They share their weights, and what is told of languages is what can be translated."""
    with site_of([f"mt={two_ways / 'run'}"]) as site:
        assert [served.name for served in site.models] == ["mt:zh-en", "mt:en-zh"]
        assert [language.code for language in sources(site)] == ["zh", "en"]
        assert [[each.code for each in targets(site, code)] for code in ("zh", "en")] == [["en"], ["zh"]]
        there, back = (served.now.model for served in site.models)
        assert there.writer is back.writer
        for source, text in {"zh": "我们在家。", "en": "We are at home."}.items():
            served = translator_for(site, source, "en" if source == "zh" else "zh")
            assert served is not None
            expected = Translator.load(two_ways / "run", device="cpu").toward(source=source).translate(text)
            assert served.now.model.translate(text).text == expected.text
            found = translator_for(site, None, "en" if source == "zh" else "zh", text)
            assert found is served
        assert translator_for(site, "zh", "zh") is None
        asked = asking(site).ask
        assert [model["name"] for model in asked("GET", "/api/info").json["models"]] == ["mt:zh-en", "mt:en-zh"]
        answer = asked("POST", "/translate", {"q": "We are at home.", "source": "en", "target": "zh"})
        assert answer.json["translatedText"] == back.translate("We are at home.").text
        tree = asked("GET", "/languages").json
        assert [(each["code"], each["targets"]) for each in tree] == [("zh", ["en"]), ("en", ["zh"])]
        looked = asked("POST", "/api/translate", {"model": "mt:en-zh", "text": "We are at home.", "alignment": True})
        assert looked.json["translations"][0]["text"] == back.translate("We are at home.").text
