"""LibreTranslate's routes besides: what is asked for wrongly, detection, languages, settings."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.serve.dialects.libretranslate.translate import MOST_TEXTS
from tests.serving import FORM, Asking, asking, site_of

GOOD: dict[str, Any] = {"q": "我们", "source": "zh", "target": "en"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": None}, "Invalid request: missing q parameter"),
        ({"source": ""}, "Invalid request: missing source parameter"),
        ({"target": None}, "Invalid request: missing target parameter"),
        ({"format": "pdf"}, "pdf format is not supported"),
        (
            {"q": ["a"] * (MOST_TEXTS + 1)},
            f"Invalid request: request ({MOST_TEXTS + 1}) exceeds text limit ({MOST_TEXTS})",
        ),
        ({"q": 5}, "q = 5: must be a string or a list of strings"),
        ({"q": [["a"]]}, 'q = [["a"]]: must be a string or a list of strings'),
        ({"source": ["zh"]}, 'source = ["zh"]: is a list, must be a string'),
        ({"alternatives": 99}, "alternatives = 99: must be a whole number from 0 to 8"),
        ({"beam": "wide"}, 'beam = "wide": must be a whole number from 1 to 16'),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], message: str, toy_asking: Asking) -> None:
    answer = toy_asking.post("/translate", {**GOOD, **change})
    assert (answer.status, answer.json) == (400, {"error": message})


def test_a_form_is_json(toy_asking: Asking) -> None:
    text = toy_asking.post("/translate", GOOD).json
    assert toy_asking.post("/translate", "q=%E6%88%91%E4%BB%AC&source=zh&target=en", headers=FORM).json == text
    assert toy_asking.post("/translate/", GOOD).json == text
    assert toy_asking.get("/translate").status == 405


def test_a_long_text_is_parts_and_one_too_long_is_refused(toy_asking: Asking, toy_run: Path) -> None:
    answer = toy_asking.post("/translate", {**GOOD, "q": "我们今天在家。" * 20})
    assert int(answer.headers["x-clearhead-parts"]) == 20
    assert answer.headers["x-clearhead-checkpoint"].startswith("step-")
    with site_of([f"mt={toy_run}"], max_pieces=50) as site:
        refused = asking(site).post("/translate", {**GOOD, "q": "我们今天在家。" * 20})
        assert refused.status == 400
        assert "exceeds text limit (50)" in refused.json["error"]


def test_languages_are_detected(toy_asking: Asking) -> None:
    (guess,) = toy_asking.post("/detect", {"q": "我们今天在家。"}).json
    assert guess["language"] == "zh"
    assert guess["confidence"] > 90
    answer = toy_asking.post("/translate", {**GOOD, "source": "auto"}).json
    assert answer["detectedLanguage"]["language"] == "zh"
    several = toy_asking.post("/translate", {**GOOD, "q": ["我们", "她"], "source": "auto"}).json
    assert [each["language"] for each in several["detectedLanguage"]] == ["zh", "zh"]
    assert toy_asking.post("/detect", {}).json == {"error": "Invalid request: missing q parameter"}
    assert toy_asking.get("/detect").status == 405


def test_languages_and_settings_are_told(toy_asking: Asking, toy_run: Path) -> None:
    assert toy_asking.get("/languages").json == [{"code": "zh", "name": "Chinese", "targets": ["en"]}]
    settings = toy_asking.get("/frontend/settings").json
    assert settings == {
        "charLimit": 131_072 // 12,
        "frontendTimeout": 500,
        "apiKeys": False,
        "keyRequired": False,
        "suggestions": False,
        "filesTranslation": True,
        "supportedFilesFormat": [".txt", ".html", ".srt"],
        "language": {"source": {"code": "zh", "name": "Chinese"}, "target": {"code": "en", "name": "English"}},
    }
    with site_of([f"mt={toy_run}"]) as site:
        off = asking(site).get("/frontend/settings").json
        assert (off["filesTranslation"], off["supportedFilesFormat"]) == (False, [])


def test_suggestions_are_not_taken(toy_asking: Asking) -> None:
    answer = toy_asking.post("/suggest", {"q": "a", "s": "b"})
    assert (answer.status, answer.json) == (403, {"error": "Suggestions are disabled on this server."})


def test_a_server_without_translators_says_so(toy_lm_run: Path) -> None:
    with site_of([f"lm={toy_lm_run}"]) as site:
        ask = asking(site)
        assert ask.get("/languages").json == ask.post("/detect", {"q": "a"}).json == []
        assert ask.get("/frontend/settings").json["language"]["source"] == {"code": "", "name": ""}
        for source in ("zh", "auto"):
            assert ask.post("/translate", {**GOOD, "source": source}).status == 400
