"""Streams of translations: their events, and comments while nothing else comes."""

import time
from typing import Any

import pytest

from clearhead.serve import translating
from clearhead.serve.work.steppers import SourceStepper
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
