"""Completions: whole and streamed alike, with log-probabilities, echo, stops, biases; translators and other kinds."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.tasks.language_model.neural import LanguageModel
from tests.serving import Answer, Asking, asking, site_of

GOOD: dict[str, Any] = {"model": "lm", "prompt": "我们", "max_tokens": 8, "temperature": 0}
ZH = "我们今天在家。"


def completed(asking: Asking, **change: Any) -> Answer:
    return asking.post("/v1/completions", {**GOOD, **change})


def streamed(asking: Asking, **change: Any) -> tuple[dict[int, str], dict[int, str], list[Any]]:
    """Returns the text and the end of each choice of a stream, and all events."""
    answer = completed(asking, stream=True, **change)
    assert answer.status == 200, answer.text
    events = answer.events
    assert events[-1] == "[DONE]"
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    for each in events[:-1]:
        for choice in each["choices"]:
            assert choice["index"] not in reasons, "nothing comes after its end"
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
            if choice["finish_reason"]:
                reasons[choice["index"]] = choice["finish_reason"]
    return texts, reasons, events


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"n": 3, "temperature": 1.0, "seed": 4},
        {"prompt": ["我们", "", "She"], "n": 2, "temperature": 0.7, "seed": 9},
        {"echo": True},
        {"stop": "在", "max_tokens": 30},
        {"prompt": [5, 6, 7]},
        {"max_tokens": 1},
        {"beam": 3, "n": 2, "temperature": 1},
    ],
    ids=str,
)
def test_a_stream_is_what_comes_at_once(change: dict[str, Any], toy_asking: Asking) -> None:
    whole = completed(toy_asking, **change).json
    texts, reasons, events = streamed(toy_asking, **change, stream_options={"include_usage": True})
    assert texts == {choice["index"]: choice["text"] for choice in whole["choices"]}
    assert reasons == {choice["index"]: choice["finish_reason"] for choice in whole["choices"]}
    assert events[-2]["usage"] == whole["usage"]
    assert {each["id"] for each in events[:-1]} == {events[0]["id"]}


def test_echo_and_stop(toy_asking: Asking) -> None:
    free = completed(toy_asking, max_tokens=20).json["choices"][0]["text"]
    assert completed(toy_asking, max_tokens=20, echo=True).json["choices"][0]["text"] == "我们" + free
    stop = free[2:4]
    choice = completed(toy_asking, max_tokens=20, stop=[stop]).json["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (free[: free.index(stop)], "stop")
    assert completed(toy_asking, max_tokens=2).json["choices"][0]["finish_reason"] == "length"


def test_log_probabilities_are_told_at_once_and_in_a_stream(toy_asking: Asking) -> None:
    whole = completed(toy_asking, logprobs=3).json["choices"][0]
    told = whole["logprobs"]
    assert len(told["tokens"]) == len(told["token_logprobs"]) == len(told["text_offset"]) == 8
    assert told["text_offset"][0] == 0
    for token, log_prob, top in zip(told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True):
        assert 1 <= len(top) <= 3
        assert top[token] == pytest.approx(log_prob, abs=1e-5) == max(top.values())
    _, _, events = streamed(toy_asking, logprobs=3)
    parts = [each["choices"][0]["logprobs"] for each in events[:-1] if each["choices"][0]["logprobs"]]
    for name in ("tokens", "token_logprobs", "text_offset"):
        assert [value for part in parts for value in part[name]] == pytest.approx(told[name]) or name == "tokens"
    assert [token for part in parts for token in part["tokens"]] == told["tokens"]
    assert completed(toy_asking, logprobs=0).json["choices"][0]["logprobs"]["top_logprobs"] is None
    assert completed(toy_asking).json["choices"][0]["logprobs"] is None


def test_an_echo_tells_of_the_pieces_of_its_prompt_what_pytorch_says(toy_asking: Asking, toy_lm_run: Path) -> None:
    model = LanguageModel.load(toy_lm_run, engine="torch")
    asked: dict[str, Any] = {"prompt": [ZH, "She"], "max_tokens": 3, "n": 2, "logprobs": 2, "echo": True}
    whole = completed(toy_asking, **asked).json["choices"]
    for place, prompt in ((0, ZH), (2, "She")):
        new = completed(toy_asking, prompt=prompt, max_tokens=3, logprobs=2).json["choices"][0]
        told, own, count = whole[place]["logprobs"], new["logprobs"], len(new["logprobs"]["tokens"])
        assert whole[place]["text"] == prompt + new["text"]
        assert told == whole[place + 1]["logprobs"]
        assert told["token_logprobs"][:-count] == pytest.approx(model.log_probs(prompt), abs=1e-4)
        assert told["tokens"][-count:] == own["tokens"]
        assert told["text_offset"][-count:] == [len(prompt) + offset for offset in own["text_offset"]]
        assert told["text_offset"] == sorted(told["text_offset"])
        for token, log_prob, top in zip(
            *(told[name] for name in ("tokens", "token_logprobs", "top_logprobs")), strict=True
        ):
            assert len(top) <= 2
            assert top.get(token, min(top.values())) == pytest.approx(max(log_prob, min(top.values())), abs=1e-4)
    _, _, events = streamed(toy_asking, **asked)
    for choice in whole:
        parts = [part for each in events[:-1] for part in each["choices"] if part["index"] == choice["index"]]
        for name, values in choice["logprobs"].items():
            assert [value for part in parts if part["logprobs"] for value in part["logprobs"][name]] == values, name


def test_the_first_piece_of_all_has_no_log_probability(toy_asking: Asking) -> None:
    told = completed(toy_asking, prompt=[40, 41, 42], logprobs=1, echo=True).json["choices"][0]["logprobs"]
    assert (told["token_logprobs"][0], told["top_logprobs"][0]) == (None, None)
    assert None not in told["token_logprobs"][1:]


def test_an_echo_of_more_pieces_than_the_context_tells_of_all(toy_asking: Asking, toy_lm_run: Path) -> None:
    model = LanguageModel.load(toy_lm_run, engine="torch")
    text = ZH * 60
    ids = [model.tokenizer.begin, *model.tokenizer.encode(text)]
    assert len(ids) > model.recipe.model.max_seq_len
    told = completed(toy_asking, prompt=ids, max_tokens=1, logprobs=1, echo=True).json["choices"][0]["logprobs"]
    assert told["token_logprobs"][: len(ids) - 1] == pytest.approx(model.log_probs(text), abs=1e-4)


def test_a_bias_and_a_ban_are_carried_out(toy_asking: Asking) -> None:
    free = completed(toy_asking).json["choices"][0]["text"]
    tokens = completed(toy_asking, logit_bias={"11": 100}, logprobs=1).json["choices"][0]["logprobs"]["tokens"]
    assert len(set(tokens)) == 1
    first = completed(toy_asking, logprobs=1).json["choices"][0]["logprobs"]["tokens"][0]
    assert first not in completed(toy_asking, bad_words=[free[0]]).json["choices"][0]["text"]


def test_the_same_seed_writes_the_same(toy_asking: Asking) -> None:
    def text(**change: Any) -> str:
        found: str = completed(toy_asking, temperature=1.5, max_tokens=20, **change).json["choices"][0]["text"]
        return found

    assert text(seed=3) == text(seed=3) != text(seed=4)
    assert len({text() for _ in range(4)}) > 1


def test_a_prompt_longer_than_the_context_is_cut_and_that_is_said(toy_asking: Asking) -> None:
    answer = completed(toy_asking, prompt="我们" * 200)
    assert answer.status == 200
    assert int(answer.headers["x-clearhead-dropped"]) > 0
    assert "x-clearhead-dropped" not in completed(toy_asking).headers
    long = completed(toy_asking, prompt=[5] * 300)
    assert long.status == 200


def test_a_translator_translates(toy_asking: Asking) -> None:
    text = toy_asking.post("/translate", {"q": ZH, "source": "zh", "target": "en"}).json["translatedText"]
    whole = completed(toy_asking, model="mt", prompt=[ZH, ""], n=1, max_tokens=None).json
    assert [choice["text"] for choice in whole["choices"]] == [text, ""]
    assert whole["usage"]["completion_tokens"] > 2
    texts, _, events = streamed(
        toy_asking, model="mt", prompt=[ZH, ""], max_tokens=None, stream_options={"include_usage": True}
    )
    assert texts == {0: text, 1: ""}
    assert events[-2]["usage"] == whole["usage"]
    assert len(completed(toy_asking, model="mt", prompt=ZH, n=4).json["choices"]) == 4


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "gone"}, 404, "model"),
        ({"model": None}, 400, "model"),
        ({"model": 5}, 400, "model"),
        ({"model": "bert"}, 400, "model"),
        ({"prompt": [400_000]}, 400, "prompt"),
        ({"prompt": [-1]}, 400, "prompt"),
        ({"model": "mt", "prompt": [1, 2]}, 400, "prompt"),
        ({"model": "mt", "echo": True}, 400, "echo"),
        ({"model": "mt", "logprobs": 1}, 400, "logprobs"),
        ({"logit_bias": {"999999": 1}}, 400, "logit_bias"),
        ({"stream_options": "x"}, 400, "stream_options"),
        ({"stream": True, "n": 99}, 400, "n"),
        ({"beam": 2, "temperature": 0.5}, 400, None),
        ({"beam": 2, "temperature": 1, "logprobs": 0}, 400, "logprobs"),
        ({"bad_words": [""]}, 400, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_said(change: dict[str, Any], status: int, param: str | None, toy_asking: Asking) -> None:
    answer = completed(toy_asking, **change)
    assert answer.status == status, answer.text
    error = answer.json["error"]
    assert error["param"] == param
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == ("model_not_found" if status == 404 else error["code"])


def test_other_kinds_of_language_models_write_too(toy_baselines: dict[str, Path]) -> None:
    with site_of([f"{name}={run}" for name, run in toy_baselines.items()]) as site:
        ask = asking(site)
        for name in toy_baselines:
            whole = completed(ask, model=name, n=2, temperature=0.8, seed=1).json
            texts, _, _ = streamed(ask, model=name, n=2, temperature=0.8, seed=1)
            assert texts == {choice["index"]: choice["text"] for choice in whole["choices"]}
            assert completed(ask, model=name, prompt=[5, 6]).status == 400
            assert completed(ask, model=name, logprobs=0).json["error"]["param"] == "logprobs"
            biased = completed(ask, model=name, logit_bias={"11": 100}).json["choices"][0]["text"]
            assert len(set(biased.split())) <= 2


def test_the_first_piece_of_a_stream_is_timed(toy_site: Any, toy_asking: Asking) -> None:
    def count() -> str:
        lines = toy_site.metrics.text().splitlines()
        return next(line for line in lines if line.startswith("clearhead_time_to_first_token_seconds_count"))

    before = count()
    streamed(toy_asking)
    assert int(count().split()[1]) == int(before.split()[1]) + 1
    completed(toy_asking)
    assert int(count().split()[1]) == int(before.split()[1]) + 1
