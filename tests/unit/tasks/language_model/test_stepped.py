"""A text model's steps: what they show is what generation makes."""

from pathlib import Path

import pytest

from clearhead.decode.sampling import SamplingConfig
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.language_model.stepped import SteppedModel
from clearhead.verbs.load import load_language_model

CONFIG, PROMPT = GenerationConfig(max_new=12), "我"


@pytest.fixture(scope="module", params=["language_model", "rnn_language_model", "ngram"])
def model(request: pytest.FixtureRequest, toy_lm_run: Path, toy_baselines: dict[str, Path]) -> SteppedModel:
    return load_language_model({"language_model": toy_lm_run, **toy_baselines}[request.param], device="cpu")


def test_steps_are_those_of_the_greedy_text(model: SteppedModel) -> None:
    text = model.generate(PROMPT, CONFIG, sampling=SamplingConfig(temperature=0.0))
    assert [step.chosen for step in model.trace(PROMPT, CONFIG)] == text.ids
    assert model.threads >= 1


def test_the_best_hypothesis_of_the_tree_is_the_text_of_a_search(model: SteppedModel) -> None:
    config = GenerationConfig(max_new=12, beam=3, n=2)
    read, tree = model.beam_tree(PROMPT, config)
    texts = model.generate([PROMPT], config)
    assert read[-1:] == model.tokenizer.encode(PROMPT)[-1:]
    found = [[tree.nodes[place].piece for place in tree.path(node)] for node in tree.returned]
    assert [ids[-len(one.ids) :] for ids, one in zip(found, texts, strict=True)] == [one.ids for one in texts]
