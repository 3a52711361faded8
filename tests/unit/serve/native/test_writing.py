"""Texts piece by piece: the model's own, with what else could have come, and another way on from any piece."""

import math
from pathlib import Path
from typing import Any

import pytest

from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from tests.serving import Asking, asking, site_of


@pytest.fixture(scope="module")
def model(toy_lm_run: Path) -> LanguageModel:
    return LanguageModel.load(toy_lm_run, device="cpu")


def asked(asking: Asking, **fields: Any) -> list[Any]:
    answer = asking.post("/api/generate", {"model": "lm", "prompt": "我们", "max_new": 12, **fields})
    assert answer.status == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return answer.events


@pytest.mark.parametrize("fields", [{"temperature": 0.0}, {"seed": 3}, {"seed": 4, "top_k": 5, "max_new": 40}])
def test_a_stream_is_the_model_s_text(toy_asking: Asking, model: LanguageModel, fields: dict[str, Any]) -> None:
    *steps, last = asked(toy_asking, **fields)
    sampling = SamplingConfig(**{name: value for name, value in fields.items() if name != "max_new"})
    own = model.generate("我们", GenerationConfig(max_new=fields.get("max_new", 12)), sampling=sampling)
    assert [step["id"] for step in steps] == own.ids
    assert [step["piece"] for step in steps] == own.pieces
    assert "".join(step["text"] for step in steps) + last["text"] == own.text
    assert [math.log(step["probability"]) for step in steps] == pytest.approx(own.log_probs, abs=1e-4)
    assert (last["done"], last["reason"], last["pieces"]) == (True, own.reason, len(own.ids))


def test_each_step_has_the_most_probable_pieces(toy_asking: Asking, model: LanguageModel) -> None:
    trace = model.trace("我们", GenerationConfig(max_new=6), top=4)
    *steps, _ = asked(toy_asking, temperature=0, max_new=6, top=4)
    for step, own in zip(steps, trace, strict=True):
        assert [[index, share] for index, _, share in step["top"]] == [
            [index, pytest.approx(share, abs=1e-4)] for index, share in own.top
        ]
        assert [name for _, name, _ in step["top"]] == model.tokenizer.pieces([index for index, _ in own.top])


def test_a_text_goes_on_behind_pieces_as_if_it_had_never_stopped(toy_asking: Asking) -> None:
    whole = [step["id"] for step in asked(toy_asking, temperature=0, max_new=10)[:-1]]
    for count in (1, 4):
        rest = asked(toy_asking, temperature=0, max_new=10 - count, pieces=whole[:count])
        assert [step["id"] for step in rest[:-1]] == whole[count:]


def test_a_character_that_a_branch_began_is_finished(toy_asking: Asking, model: LanguageModel) -> None:
    """The first bytes are among the pieces given, the others come: the text has the whole character."""
    tokenizer = model.tokenizer
    ids = tokenizer.encode("我们骘")  # in no text that the tokenizer has seen
    split = [number for number in range(1, len(ids)) if "\ufffd" in tokenizer.decode(ids[:number])]
    assert split, "a character of one piece"
    head = len(tokenizer.encode("我们"))
    *steps, last = asked(toy_asking, temperature=0, max_new=8, pieces=ids[head : split[0]])
    text = "".join(step["text"] for step in steps) + last["text"]
    assert "\ufffd" not in text
    assert text
    assert tokenizer.decode([*ids[: split[0]], *(step["id"] for step in steps)]).startswith("我们" + text)


@pytest.mark.parametrize(
    "fields", [{"pieces": "a"}, {"pieces": [True]}, {"pieces": [10**6]}, {"max_new": 0}, {"top": 11}, {"prompt": 3}]
)
def test_wrong_fields_are_refused(toy_asking: Asking, fields: dict[str, Any]) -> None:
    answer = toy_asking.post("/api/generate", {"model": "lm", "prompt": "我们", "max_new": 12, **fields})
    assert answer.status == 400
    assert next(iter(fields)) in answer.json["error"]


def test_a_model_that_tells_no_pieces_says_how_many_it_wrote(toy_baselines: dict[str, Path]) -> None:
    with site_of([f"lm={toy_baselines['ngram']}"]) as site:
        *parts, last = asked(asking(site), seed=1)
        own = site.models.get("lm").now.model.generate("我们", GenerationConfig(12), sampling=SamplingConfig(seed=1))
    assert {part["id"] for part in parts} == {-1}
    assert "".join(part["text"] for part in parts) == own.text
    assert last["pieces"] == len(own.ids) > 0
