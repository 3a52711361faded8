"""Translations of a request are those of the translator alone, and headers say what a client might not see."""

import time
from pathlib import Path
from typing import Any

import pytest

from clearhead.serve.translating import _Growing, finish_reason
from clearhead.serve.work.steppers import SourceStepper, SourceWork
from clearhead.tasks.translation.result import EMPTY
from clearhead.tasks.translation.translator import Translator
from tests.serving import Answer, Asking, asking, site_of

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


def joined(answer: Answer) -> dict[int, list[str]]:
    """Returns the parts of each text of a stream, of which none is empty but the last."""
    texts = dict[int, list[str]]()
    for tree in answer.events[:-1]:
        (choice,) = tree["choices"]
        texts.setdefault(choice["index"], []).append(choice["text"])
        assert choice["text"] or choice["finish_reason"]
    assert answer.events[-1] == "[DONE]"
    return texts


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 5}, {"beam": 3, "max_tokens": 4}])
def test_a_stream_tells_what_can_no_longer_change(options: dict[str, Any], toy_asking: Asking) -> None:
    texts = ["他喝水。我们今天在家。", "", LONG[:27], "我妹妹不骑自行车。\n\n她们在学校。"]
    asked = {"model": "mt", "prompt": texts, **options}
    whole = toy_asking.post("/v1/completions", asked).json
    answer = toy_asking.post("/v1/completions", {**asked, "stream": True})
    told = joined(answer)
    assert ["".join(told[place]) for place in range(4)] == [choice["text"] for choice in whole["choices"]]
    assert answer.headers["x-clearhead-parts"] == "2,1,3,2"
    assert answer.headers["x-clearhead-checkpoint"] == "step-120"
    assert {"\ufffd"} & set("".join(part for parts in told.values() for part in parts)) == set()


def test_a_greedy_stream_tells_words_as_they_come(toy_asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    step = SourceStepper.step

    def slowly(stepper: SourceStepper, threads: int) -> list[tuple[SourceWork, Any]]:
        time.sleep(0.1)  # in which the event loop has the piece before
        return step(stepper, threads)

    monkeypatch.setattr(SourceStepper, "step", slowly)
    answer = toy_asking.post(
        "/v1/completions", {"model": "mt", "prompt": "我妹妹不骑自行车。", "beam": 1, "stream": True}
    )
    assert len(joined(answer)[0]) > 3


def test_nothing_comes_early_of_several_translations_of_a_text(toy_asking: Asking) -> None:
    asked = {"model": "mt", "prompt": ["他喝水。", "我们今天在家。"], "n": 2}
    whole = toy_asking.post("/v1/completions", asked).json
    told = joined(toy_asking.post("/v1/completions", {**asked, "stream": True}))
    assert told == {place: [choice["text"]] for place, choice in enumerate(whole["choices"])}


def test_parts_that_are_settled_out_of_order_wait_for_those_before(toy_run: Path) -> None:
    model, told = Translator.load(toy_run, device="cpu"), list[Any]()
    growing = _Growing(model, told.append)
    division = model._divide("他喝水。我们今天在家。", "sentences", "split")
    growing.begin([division, division])
    tgt = model.tokenizers.tgt
    first, second = tgt.encode("He drinks water."), tgt.encode("We are at home.")
    growing.settle(1, second, False)
    growing.settle(1, second[:2], False)  # never longer than what was told: not told again
    growing.settle(2, first[:1], False)
    assert len(told) == 2
    assert [(grown.place, grown.text) for grown in growing.take(told)] == [(1, model.text_of(first[:1]))]
    growing.settle(0, first, True)
    (grown,) = growing.take(told[2:])
    assert (grown.place, grown.text) == (0, "He drinks water. We are at home.")
    assert growing.take([]) == []
