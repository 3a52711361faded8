"""Translations of a request are those of the translator alone, and headers say what a client might not see."""

from pathlib import Path

from clearhead.serve.translating import finish_reason
from clearhead.tasks.translation.result import EMPTY
from clearhead.tasks.translation.translator import Translator
from tests.serving import Asking, asking, site_of

LONG = "我妹妹不骑自行车。" * 12


def test_a_request_has_the_translator_s_translations(toy_asking: Asking, toy_run: Path) -> None:
    translator = Translator.load(toy_run, device="cpu")
    for options in ({}, {"beam": 1}, {"n": 3}, {"length_penalty": 0.5}, {"max_tokens": 3}):
        answer = toy_asking.post("/v1/completions", {"model": "mt", "prompt": ["他喝水。", LONG, ""], **options})
        assert answer.status == 200, answer.text
        names = {"n": "n_best", "max_tokens": "limit"}
        given = {names.get(name, name): value for name, value in options.items()}
        ranked = translator.translate(["他喝水。", LONG, ""], **{"n_best": 1, **given})  # type: ignore[call-overload]
        texts = [each.text for translations in ranked for each in translations or [EMPTY]]
        assert [choice["text"] for choice in answer.json["choices"]] == texts
        assert answer.headers["x-clearhead-parts"] == "1,12,1"
        assert answer.headers["x-clearhead-checkpoint"] == "step-120"


def test_too_many_pieces_are_refused_before_any_is_translated(toy_run: Path) -> None:
    with site_of([f"mt={toy_run}"], max_pieces=20) as site:
        answer = asking(site).post("/translate", {"q": LONG, "source": "zh", "target": "en"})
        assert answer.status == 400
        assert "pieces, at most 20 in a request" in answer.json["error"]
        assert "X-Clearhead-Parts" not in answer.headers


def test_a_translation_that_was_cut_off_says_so(toy_asking: Asking) -> None:
    answer = toy_asking.post("/v1/completions", {"model": "mt", "prompt": "他喝水。", "max_tokens": 1})
    assert [choice["finish_reason"] for choice in answer.json["choices"]] == ["length"]
    assert finish_reason(EMPTY) == "stop"
