"""The native loop writes what the loop over PyTorch's rows writes: pieces, probabilities, and why a text ends."""

from functools import partial
from typing import Any

import pytest

from clearhead.decode.generation import generate as by_torch
from clearhead.decode.rows import RowsDecoding
from clearhead.decode.sampler import Sampler
from clearhead.engine.loops.generation import generate
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.loops.writing import ROOM
from clearhead.errors import ModelError
from tests.native import NATIVE, native
from tests.small import random_rows, small_gpt

pytestmark = NATIVE
EOS = 2
PROMPTS = [*random_rows([5, 1, 8, 3, 11], seed=1), [EOS], [EOS, 7]]
LIMITS = [20, 17, 30, 3, 20, 25, 1]


@pytest.mark.parametrize(
    "config",
    [
        SamplingConfig(temperature=0.0, repetition_penalty=1.3, no_repeat_ngram=3),
        SamplingConfig(temperature=1.3, top_p=0.95, presence_penalty=0.2, no_repeat_ngram=4, seed=5),
        SamplingConfig(temperature=2.0, top_k=5, typical_p=0.9, frequency_penalty=0.3, seed=1),
    ],
)
def test_the_texts_are_those_of_pytorch(config: SamplingConfig) -> None:
    model = small_gpt(position="rotary", max_seq_len=8)
    sampler = Sampler(config, EOS, forbidden=(0, 1), min_length=2, ends=(3,))
    asked: dict[str, Any] = {"limits": LIMITS, "samples": list(range(7))}
    expected = by_torch(partial(RowsDecoding, model), PROMPTS, sampler, **asked)
    found = generate(native(model), PROMPTS, sampler, **asked)
    for one, other in zip(found, expected, strict=True):
        assert (one.ids, one.reason) == (other.ids, other.reason)
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-3)
    assert len({tuple(one.ids) for one in found}) > 4


def test_a_text_alone_is_a_text_in_company() -> None:
    model, sampler = native(small_gpt(max_seq_len=8)), Sampler(SamplingConfig(temperature=3.0), EOS)
    together = generate(model, PROMPTS, sampler, limits=LIMITS, samples=[0, 1, 0, 1, 2, 3, 4])
    for row, sample in enumerate([0, 1, 0, 1, 2, 3, 4]):
        prompt = [PROMPTS[row]]
        alone = generate(model, prompt, sampler, limits=[LIMITS[row]], samples=[sample])
        assert alone == [together[row]]


def test_texts_longer_than_the_first_room() -> None:
    model, sampler = native(small_gpt(max_seq_len=8)), Sampler(SamplingConfig(temperature=9.0), EOS, min_length=10**6)
    (text,) = generate(model, [[5]], sampler, limits=[2 * ROOM + 9], samples=[0])
    assert (len(text.ids), text.reason) == (2 * ROOM + 9, "length")
    assert len({*text.ids}) > 5


def test_a_stop_and_no_numbers() -> None:
    model, seen = small_gpt(), list[int]()
    sampler = Sampler(SamplingConfig(temperature=0.0), EOS, min_length=9)
    (text,) = generate(
        native(model),
        [[5]],
        sampler,
        limits=[9],
        samples=[0],
        stopped=[lambda piece: bool(seen.append(piece)) or len(seen) == 3],
    )
    assert (text.ids, text.reason) == (seen, "stop")
    model.norm.weight.data[0] = float("nan")
    with pytest.raises(ModelError, match=r"^row 0, position 2: the best logit is nan, so no piece can be chosen$"):
        generate(native(model), [[5, 6]], sampler, limits=[3], samples=[0])
