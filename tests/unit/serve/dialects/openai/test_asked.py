"""What a completion asks for: prompts in all their forms, lengths, stops, biases; what is wrong is named."""

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from clearhead.serve.dialects.openai.asked import Streamed, bias_of, prompts_of, wanted_of
from clearhead.serve.http.body import Fields
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.settings import ServeSettings
from tests.serving import service_of_nobody

VOCAB = 50
MODEL = SimpleNamespace(tokenizer=SimpleNamespace(vocab_size=VOCAB))


def wanted(**tree: Any) -> Any:
    request = Request({"type": "http", "headers": []})
    return wanted_of(Asked(request, Fields(tree), service_of_nobody(), ServeSettings(max_pieces=100)), MODEL, ["a"])


@pytest.mark.parametrize(
    ("given", "prompts"),
    [(None, [""]), ("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]]),
     (["a", [1]], ["a", [1]])],
)  # fmt: skip
def test_prompts_have_several_forms(given: Any, prompts: list[Any]) -> None:
    assert prompts_of(Fields({"prompt": given})) == prompts


@pytest.mark.parametrize("given", [5, True, {}, [], [[]], [True], [1, "a"], [1.5], [[1, True]], [None], ["a"] * 65])
def test_other_prompts_are_refused(given: Any) -> None:
    with pytest.raises(RequestError) as raised:
        prompts_of(Fields({"prompt": given}))
    assert raised.value.param == "prompt"


def test_settings_are_read() -> None:
    plain = wanted()
    assert (plain.config.max_new, plain.config.n, plain.config.beam, plain.top) == (16, 1, 0, 0)
    assert (plain.sampling.temperature, plain.sampling.bias) == (1.0, ())
    full = wanted(
        max_tokens=7, n=2, best_of=2, stop=["x", ""], bad_words="no", temperature=0.5, top_p=0.9, seed=-3,
        logit_bias={"7": -100, "8": 1.5}, logprobs=5, frequency_penalty=-2, presence_penalty=2, user="me", unknown=1,
    )  # fmt: skip
    assert (full.config.max_new, full.config.n, full.config.stop, full.config.bad_words) == (7, 2, ("x",), ("no",))
    assert full.sampling.bias == ((7, -100.0), (8, 1.5))
    assert full.sampling.seed == 2**64 - 3
    assert full.top == 5
    assert wanted(beam=4, n=2).config.beam == 4
    assert wanted(stop="x").config.stop == ("x",)


def test_without_a_seed_each_text_has_its_own() -> None:
    assert len({wanted().sampling.seed for _ in range(8)}) > 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_tokens", 0), ("max_tokens", 101), ("max_tokens", "many"), ("n", 0), ("n", 9), ("best_of", 2),
     ("stop", ["a"] * 5),
     ("stop", 1), ("temperature", -1), ("temperature", "hot"), ("top_p", 1.1), ("suffix", "x"), ("logprobs", 6),
     ("logprobs", True), ("seed", 1.5), ("seed", 2**63), ("frequency_penalty", 3), ("logit_bias", [1]),
     ("logit_bias", {"x": 1}), ("logit_bias", {"50": 1}), ("logit_bias", {"-1": 1}), ("bad_words", [1]), ("beam", 17)],
)  # fmt: skip
def test_what_is_wrong_is_named(name: str, value: Any) -> None:
    with pytest.raises(RequestError) as raised:
        wanted(**{name: value})
    assert (raised.value.status, raised.value.param) == (400, name)


def test_a_beam_is_as_wide_as_the_texts() -> None:
    with pytest.raises(RequestError, match="at least n = 3"):
        wanted(beam=2, n=3)


@pytest.mark.parametrize("value", [101, -101, "1e9", True, None, [1], "x"])
def test_a_bias_is_a_number_within_bounds(value: Any) -> None:
    if value is None:
        assert bias_of(Fields({"logit_bias": {"3": None}}), VOCAB) == ((3, 0.0),)
        return
    with pytest.raises(RequestError):
        bias_of(Fields({"logit_bias": {"3": value}}), VOCAB)


def test_streams_are_asked_for() -> None:
    assert Streamed.of(Fields({})) == Streamed(False, False)
    assert Streamed.of(Fields({"stream": True, "stream_options": {"include_usage": True}})) == Streamed(True, True)
    with pytest.raises(RequestError):
        Streamed.of(Fields({"stream_options": [1]}))
