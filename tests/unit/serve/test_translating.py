"""Translations of a request are those of the translator alone, and headers say what a client might not see."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearhead.serve import translating
from clearhead.serve.dialects.libretranslate import files
from clearhead.serve.translating import _Growing, finish_reason
from clearhead.serve.work.steppers import SourceStepper, SourceWork
from clearhead.tasks.translation.result import EMPTY
from clearhead.tasks.translation.translator import Translator
from tests.limits import HANGS
from tests.serving import Answer, Asking, asking, site_of
from tests.unit.serve.dialects.libretranslate.test_files import file_of

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
        assert re.fullmatch(r"Invalid request: request \(\d+\) exceeds text limit \(20\)", answer.json["error"])
        plain = asking(site).post("/v2/translate", {"text": [LONG], "target_lang": "EN"})
        assert plain.status == 400
        assert "pieces, at most 20 in a request" in plain.json["message"]
        for alignment in (False, True):
            page = asking(site).post("/api/translate", {"text": LONG, "alignment": alignment})
            assert (page.status, page.json["code"]) == (400, "too_many_pieces")
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


@pytest.mark.parametrize(
    ("prompt", "options", "status"),
    [
        (["他喝水。"], {"n": 2}, 200),  # of which nothing is told before they are whole
        (["", " "], {}, 200),  # of which nothing is searched for
        (["我妹妹不骑自行车。" * 230], {}, 200),  # which is put together in a thread, after its last piece is told
        (["他喝水。"], {"beam": 99}, 400),
    ],
)
def test_a_stream_ends_with_its_translations(
    prompt: list[str], options: dict[str, Any], status: int, toy_asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translating, "ALIVE", 2.0 * HANGS)
    answer = toy_asking.post("/v1/completions", {"model": "mt", "prompt": prompt, "stream": True, **options})
    assert answer.status == status
    assert status != 200 or answer.events[-1] == "[DONE]"


def test_parts_that_are_settled_out_of_order_wait_for_those_before(toy_run: Path) -> None:
    model, told = Translator.load(toy_run, device="cpu"), list[Any]()
    growing = _Growing(model, told.append)
    division = model._divide("他喝水。我们今天在家。", split="sentences", overlong="split")
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


HE, IT, TWO = "狗来了。", "它跑了。", "马吃了。"
PAIR = {"source": "zh", "target": "en"}


@pytest.fixture(scope="module")
def reading(stories: Path) -> Iterator[Asking]:
    """Asks a site of a translator that reads the line before each, with files."""
    with site_of([f"mt={stories / 'run'}"], files=True) as site:
        yield asking(site)


def test_each_text_of_a_request_is_read_with_the_one_before(reading: Asking, stories: Path) -> None:
    texts = [HE, IT, "", TWO, IT]
    wanted = [each.text for each in Translator.load(stories / "run", device="cpu").translate(texts)]
    assert wanted[1] != wanted[4]
    choices = reading.post("/v1/completions", {"model": "mt", "prompt": texts}).json["choices"]
    assert [choice["text"] for choice in choices] == wanted
    for options in ({"beam": 1}, {"beam": 3}):
        streamed = joined(reading.post("/v1/completions", {"model": "mt", "prompt": texts, "stream": True, **options}))
        plain = reading.post("/v1/completions", {"model": "mt", "prompt": texts, **options}).json["choices"]
        assert ["".join(streamed[at]) for at in range(5)] == [choice["text"] for choice in plain]
    assert reading.post("/translate", {"q": texts, **PAIR}).json["translatedText"] == wanted
    assert reading.post("/translate", {"q": "\n".join(texts), **PAIR}).json["translatedText"] == "\n".join(wanted)
    found = reading.post("/v2/translate", {"text": texts, "target_lang": "EN"}).json["translations"]
    assert [each["text"] for each in found] == wanted


def test_one_text_has_nothing_before_it_but_what_is_given(reading: Asking) -> None:
    alone = reading.post("/translate", {"q": IT, **PAIR}).json["translatedText"]
    (found,) = reading.post("/v2/translate", {"text": [IT], "target_lang": "EN"}).json["translations"]
    assert found["text"] == alone
    for before, who in ((HE, "dog"), (TWO, "horse"), (f"{HE}\n\n", alone[4:7])):
        asked = {"text": [IT], "target_lang": "EN", "context": before}
        (found,) = reading.post("/v2/translate", asked).json["translations"]
        assert found["text"].startswith(f"the {who}")


def test_markup_and_files_are_read_in_their_order(
    reading: Asking, stories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (each.text for each in Translator.load(stories / "run", device="cpu").translate([HE, IT]))
    page = reading.post("/translate", {"q": f"<p>{HE}</p><p>{IT}</p>", "format": "html", **PAIR}).json["translatedText"]
    assert page == f"<p>{first}</p><p>{second}</p>"
    times = "00:00:01,000 --> 00:00:02,500"
    texts = {
        "a.txt": f"{HE}\n{IT}\n\n{HE}\n{IT}\n",
        "a.srt": f"1\n{times}\n{HE}\n\n2\n{times}\n{IT}\n",
    }
    for size in (64, 1):  # across batches too
        monkeypatch.setattr(files, "AT_ONCE", size)
        for name, text in texts.items():
            assert file_of(reading, name, text) == text.replace(HE, first).replace(IT, second)


def test_a_model_that_reads_no_context_is_asked_as_ever(toy_asking: Asking) -> None:
    wanted = [toy_asking.post("/translate", {"q": each, **PAIR}).json["translatedText"] for each in (HE, IT)]
    assert toy_asking.post("/translate", {"q": [HE, IT], **PAIR}).json["translatedText"] == wanted
    answer = toy_asking.post("/v2/translate", {"text": [HE, IT], "target_lang": "EN", "context": "马吃了。"}).json
    assert [each["text"] for each in answer["translations"]] == wanted
