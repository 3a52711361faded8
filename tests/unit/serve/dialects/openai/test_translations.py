"""Streams of translations: their events, and comments while nothing else comes."""

import time
from dataclasses import replace
from typing import Any

import pytest

from clearhead.serve import translating
from clearhead.serve.dialects.openai.translations import Stopping
from clearhead.serve.translating import Grown
from clearhead.serve.work.steppers import SourceStepper
from clearhead.tasks.translation.result import EMPTY
from tests.serving import Asking

ZH = "我妹妹不骑自行车。她们在学校。"


def test_the_parts_of_a_stream_are_the_whole_answer(toy_asking: Asking) -> None:
    asked = {"model": "mt", "messages": [{"role": "user", "content": ZH}], "beam": 4}
    whole = toy_asking.post("/v1/chat/completions", asked).json
    answer = toy_asking.post(
        "/v1/chat/completions", {**asked, "stream": True, "stream_options": {"include_usage": True}}
    )
    *parts, counts, done = answer.events
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert deltas[-1] == {}
    assert all(delta.keys() == {"content"} and delta["content"] for delta in deltas[1:-1])
    assert "".join(delta.get("content", "") for delta in deltas) == whole["choices"][0]["message"]["content"]
    assert [part["choices"][0]["finish_reason"] for part in parts] == [None] * (len(parts) - 1) + ["stop"]
    assert (counts["usage"], done) == (whole["usage"], "[DONE]")


def test_what_is_wrong_has_a_status_of_its_own(toy_asking: Asking) -> None:
    answer = toy_asking.post("/v1/completions", {"model": "mt", "prompt": ZH, "beam": 99, "stream": True})
    assert (answer.status, answer.json["error"]["param"]) == (400, "beam")


def test_who_waits_is_told_that_something_is_coming(toy_asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    step = SourceStepper.step

    def slowly(stepper: SourceStepper, threads: int) -> Any:
        time.sleep(0.2)
        return step(stepper, threads)

    monkeypatch.setattr(SourceStepper, "step", slowly)
    monkeypatch.setattr(translating, "ALIVE", 0.05)
    answer = toy_asking.post("/v1/completions", {"model": "mt", "prompt": ZH, "n": 2, "stream": True})
    assert ": ping" in answer.text


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 4, "n": 2}])
def test_a_translation_ends_before_a_stop_string(options: dict[str, Any], toy_asking: Asking) -> None:
    asked = {"model": "mt", "prompt": [ZH, ""], **options}
    free = [choice["text"] for choice in toy_asking.post("/v1/completions", asked).json["choices"]]
    stop = free[0][3:6]
    wanted = [text.partition(stop)[0] for text in free]
    assert wanted[0] == free[0][:3]
    for stops in (stop, ["never", "", stop]):
        whole = toy_asking.post("/v1/completions", {**asked, "stop": stops}).json["choices"]
        assert [choice["text"] for choice in whole] == wanted
        assert {choice["finish_reason"] for choice in whole} == {"stop"}
        events = toy_asking.post("/v1/completions", {**asked, "stop": stops, "stream": True}).events
        told = [choice for each in events[:-1] for choice in each["choices"]]
        for place, text in enumerate(wanted):
            own = [choice for choice in told if choice["index"] == place]
            assert "".join(choice["text"] for choice in own) == text
            assert [choice["finish_reason"] for choice in own] == [None] * (len(own) - 1) + ["stop"]
    chat = {"model": "mt", "messages": [{"role": "user", "content": ZH}], "stop": stop, **options}
    assert toy_asking.post("/v1/chat/completions", chat).json["choices"][0]["message"]["content"] == wanted[0]
    parts = toy_asking.post("/v1/chat/completions", {**chat, "stream": True}).events[:-1]
    first = [part["choices"][0]["delta"].get("content", "") for part in parts if not part["choices"][0]["index"]]
    assert "".join(first) == wanted[0]


def test_what_may_begin_a_stop_string_is_held_back() -> None:
    def told(*parts: str, stops: list[str]) -> list[tuple[str, str | None]]:
        ending = Stopping(stops)
        whole = replace(EMPTY, text="".join(parts), complete=False)
        grown = [*(Grown(0, part) for part in parts[:-1]), Grown(0, parts[-1], whole)]
        return [ending.told(each) for each in grown]

    assert told("I a", "te ", "an", stops=["ate it"]) == [("I ", None), ("", None), ("ate an", "length")]
    assert told("I a", "te ", "an", stops=["ate"]) == [("I ", None), ("", None), ("", "stop")]
    assert told("I a", "te", stops=[]) == [("I a", None), ("te", "length")]


@pytest.mark.parametrize("name", ["logprobs", "logit_bias", "bad_words", "no_repeat_ngram"])
def test_what_a_search_does_not_do_is_refused(name: str, toy_asking: Asking) -> None:
    given: Any = {"logit_bias": {"5": 1}, "bad_words": ["x"]}.get(name, 2)
    asked: dict[str, Any] = {"completions": {"prompt": ZH}, "chat/completions": {"messages": []}}
    asked["chat/completions"]["messages"].append({"role": "user", "content": ZH})
    for path, own in asked.items():
        answer = toy_asking.post(f"/v1/{path}", {"model": "mt", **own, name: given})
        assert (answer.status, answer.json["error"]["param"]) == (400, name)


def test_too_many_stop_strings_are_refused_before_a_stream_begins(toy_asking: Asking) -> None:
    answer = toy_asking.post("/v1/completions", {"model": "mt", "prompt": ZH, "stop": list("abcde"), "stream": True})
    assert (answer.status, answer.json["error"]["param"]) == (400, "stop")
