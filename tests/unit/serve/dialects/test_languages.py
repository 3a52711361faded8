"""Which translator takes a text, and in which language a text is."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.serve.dialects.languages import base, detect, name_of, read_share, sources, targets, translator_for
from tests.serving import site_of


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
    assert read_share(mt, "Only English here") == 0.0
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
