"""Texts of a request are those of the model alone, in whatever portions they come."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from tests.serving import Asking, asking, site_of

PROMPTS = ["我", "她们在", ""]


@pytest.fixture(scope="module")
def model(toy_lm_run: Path) -> LanguageModel:
    return LanguageModel.load(toy_lm_run, device="cpu")


@pytest.mark.parametrize(
    ("fields", "config", "sampling"),
    [
        ({"max_tokens": 12}, {}, {}),
        ({"max_tokens": 12, "temperature": 0}, {}, {"temperature": 0.0}),
        ({"max_tokens": 60, "top_k": 5, "n": 2}, {"max_new": 60, "n": 2}, {"top_k": 5}),
        ({"max_tokens": 30, "stop": ["。"]}, {"max_new": 30, "stop": ("。",)}, {}),
        ({"max_tokens": 12, "bad_words": ["她"]}, {"bad_words": ("她",)}, {}),
        ({"max_tokens": 12, "beam": 4}, {"beam": 4}, {}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_has_the_model_s_texts(
    toy_asking: Asking,
    model: LanguageModel,
    fields: dict[str, Any],
    config: dict[str, Any],
    sampling: dict[str, Any],
    stream: bool,
) -> None:
    body = {"model": "lm", "prompt": PROMPTS, "seed": 3, "stream": stream, **fields}
    answer = toy_asking.post("/v1/completions", body)
    assert answer.status == 200, answer.text
    ranked = model.generate_each(
        PROMPTS, GenerationConfig(**{"max_new": 12, **config}), sampling=SamplingConfig(seed=3, **sampling)
    )
    texts = [each for texts in ranked for each in texts]
    found, reasons = [""] * len(texts), [""] * len(texts)
    choices = [choice for event in answer.events[:-1] for choice in event["choices"]] if stream else []
    for choice in choices or answer.json["choices"]:
        found[choice["index"]] += choice["text"]
        reasons[choice["index"]] = choice["finish_reason"] or reasons[choice["index"]]
    assert found == [each.text for each in texts]
    assert reasons == ["length" if each.reason == "length" else "stop" for each in texts]


def test_pieces_are_prompts_too(toy_asking: Asking, model: LanguageModel) -> None:
    ids = model.tokenizer.encode("她们在")
    asked = {"model": "lm", "max_tokens": 8, "temperature": 0}
    by_ids = toy_asking.post("/v1/completions", {**asked, "prompt": [*([model.tokenizer.begin] * model.marks), *ids]})
    by_text = toy_asking.post("/v1/completions", {**asked, "prompt": "她们在"})
    assert by_ids.json["choices"][0]["text"] == by_text.json["choices"][0]["text"]
    wrong = toy_asking.post("/v1/completions", {**asked, "prompt": [10**6]})
    assert (wrong.status, wrong.json["error"]["param"]) == (400, "prompt")


def test_log_probabilities_are_the_model_s(toy_asking: Asking, model: LanguageModel) -> None:
    body = {"model": "lm", "prompt": "我", "max_tokens": 8, "temperature": 0, "logprobs": 3}
    (choice,) = toy_asking.post("/v1/completions", body).json["choices"]
    text = model.generate("我", GenerationConfig(8), sampling=SamplingConfig(temperature=0.0))
    told = choice["logprobs"]
    assert told["token_logprobs"] == pytest.approx(text.log_probs, abs=1e-5)
    best = 0
    for token, log_prob, top in zip(told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True):
        assert 1 <= len(top) <= 3, "pieces that spell the same have one name"
        best += top.get(token) == pytest.approx(log_prob, abs=1e-6)
    assert best > 4, "greedy takes the best, but where that is no whole character"
    assert "".join(choice["text"][at:] for at in told["text_offset"][:1]) == choice["text"]


def test_what_the_engine_does_not_step_is_written_too(toy_baselines: dict[str, Path]) -> None:
    runs = [f"{name}={path}" for name, path in toy_baselines.items() if name in ("ngram", "rnn_language_model")]
    with site_of(runs) as site:
        for served in site.models:
            body = {"model": served.name, "prompt": "我", "max_tokens": 6, "seed": 1}
            whole = asking(site).post("/v1/completions", body)
            assert whole.status == 200, whole.text
            events = asking(site).post("/v1/completions", {**body, "stream": True}).events
            parts = [choice["text"] for event in events[:-1] for choice in event["choices"]]
            assert "".join(parts) == whole.json["choices"][0]["text"]
            wanted = served.now.model.generate("我", GenerationConfig(6), sampling=SamplingConfig(seed=1))
            assert whole.json["choices"][0]["text"] == wanted.text
