"""Chat: a translator answers the last message of a user; what it cannot do is refused, what it leaves out is said."""

from typing import Any

import pytest

from tests.serving import Answer, Asking

ZH = "我们今天在家。"


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def chat(asking: Asking, *messages: Any, **change: Any) -> Answer:
    return asking.post("/v1/chat/completions", {"model": "mt", "messages": list(messages), **change})


def test_the_last_message_of_a_user_is_translated(toy_asking: Asking) -> None:
    text = toy_asking.post("/translate", {"q": ZH, "source": "zh", "target": "en"}).json["translatedText"]
    answer = chat(toy_asking, user(ZH))
    assert "x-clearhead-ignored-messages" not in answer.headers
    tree = answer.json
    assert tree["object"] == "chat.completion"
    (choice,) = tree["choices"]
    assert choice["message"] == {"role": "assistant", "content": text, "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert tree["usage"]["total_tokens"] == tree["usage"]["prompt_tokens"] + tree["usage"]["completion_tokens"]
    longer = chat(
        toy_asking, {"role": "system", "content": "x"}, user("她"), user(ZH), {"role": "assistant", "content": "y"}
    )
    assert longer.json["choices"][0]["message"]["content"] == text
    assert longer.headers["x-clearhead-ignored-messages"] == "3"
    parts = chat(toy_asking, user([{"type": "text", "text": ZH[:3]}, {"type": "text", "text": ZH[3:]}]))
    assert parts.json["choices"][0]["message"]["content"] == text


def test_a_stream_says_the_same(toy_asking: Asking) -> None:
    whole = chat(toy_asking, user(ZH), n=2).json
    answer = chat(toy_asking, user(ZH), n=2, stream=True, stream_options={"include_usage": True})
    *parts, last, done = answer.events
    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]
    assert {part["object"] for part in parts} == {"chat.completion.chunk"}
    for choice in whole["choices"]:
        own = [part["choices"][0] for part in parts if part["choices"][0]["index"] == choice["index"]]
        assert own[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(each["delta"].get("content", "") for each in own) == choice["message"]["content"]
        assert own[-1] == {**own[-1], "delta": {}, "finish_reason": choice["finish_reason"]}


def test_a_length_is_a_limit(toy_asking: Asking) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        tree = chat(toy_asking, user(ZH), **{name: 2}).json
        assert tree["usage"]["completion_tokens"] == 2
        assert tree["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("messages", "change", "param"),
    [
        ([], {}, "messages"),
        (["x"], {}, "messages"),
        ([{"role": "system", "content": "x"}], {}, "messages"),
        ([user(None)], {}, "messages"),
        ([user(5)], {}, "messages"),
        ([user([{"type": "image_url", "image_url": {"url": "x"}}])], {}, "messages"),
        ([user([{"type": "text"}])], {}, "messages"),
        ([user(["x"])], {}, "messages"),
        ([user("x")] * 1001, {}, "messages"),
        ([user("x")], {"messages": "x"}, "messages"),
        ([user("x")], {"tools": [{}]}, "tools"),
        ([user("x")], {"logprobs": True}, "logprobs"),
        ([user("x")], {"response_format": {"type": "json_object"}}, "response_format"),
        ([user("x")], {"response_format": 5}, "response_format"),
        ([user("x")], {"n": 99}, "n"),
        ([user("x")], {"n": 99, "stream": True}, "n"),
        ([user("x")], {"model": "lm"}, "model"),
        ([user("x")], {"model": "bert"}, "model"),
    ],
)
def test_what_is_wrong_is_said(messages: list[Any], change: dict[str, Any], param: str, toy_asking: Asking) -> None:
    answer = chat(toy_asking, *messages, **change)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


def test_what_changes_nothing_is_let_through(toy_asking: Asking) -> None:
    plain = chat(toy_asking, user(ZH)).json["choices"]
    extra = {
        "temperature": 0.3,
        "top_p": 0.5,
        "stop": None,
        "user": "me",
        "tools": [],
        "response_format": {"type": "text"},
    }
    assert chat(toy_asking, user(ZH), **extra).json["choices"] == plain
