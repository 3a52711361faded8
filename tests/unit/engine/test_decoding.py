"""Behind the seams of search and generation the native engine gives what the model gives: texts, scores, and order."""

from typing import Any

import pytest
import torch

from clearhead.decode.decoding import CachedDecoding, Decoding
from clearhead.decode.generation import generate, speculate
from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.rows import PromptedDecoding, RowsDecoding, TextRows
from clearhead.decode.sampler import Sampler
from clearhead.decode.sampling import SamplingConfig
from clearhead.decode.search import beam_search
from clearhead.engine.decoding import NativeDecoding, NativeTextRows
from clearhead.nn.layer import BlockConfig
from tests.native import NATIVE, native
from tests.small import padded, random_rows, small, small_gpt

pytestmark = NATIVE
MARKS: dict[str, Any] = {"bos_id": 1, "eos_id": 2}


def same(actual: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    for found, wanted in zip(actual, expected, strict=True):
        assert [(each.ids, each.complete) for each in found] == [(each.ids, each.complete) for each in wanted]
        for one, other in zip(found, wanted, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("side", ["left", "right"])
def test_searches_find_what_they_find_with_the_model(beam: int, side: str) -> None:
    model = small(position="learned", n_kv_heads=2, block=BlockConfig(activation="swiglu"))
    model.lm_head.weight.data *= 3
    src, mask = padded(random_rows([5, 2, 7, 1, 3]), side, extra=1)
    config = SearchConfig(beam=beam, n_best=beam)
    with torch.inference_mode():
        both: list[Decoding] = [
            NativeDecoding(native(model), src, mask, beam=beam),
            CachedDecoding(model, src, mask, beam=beam),
        ]
    same(*(beam_search(one, config, limits=[9, 20, 40, 5, 12], **MARKS) for one in both))


def begins(**sizes: Any) -> tuple[Any, Any]:
    model = small_gpt(**sizes)
    packed = native(model)
    return lambda prompts: NativeTextRows(packed, prompts), lambda prompts: RowsDecoding(model, prompts)


@pytest.mark.parametrize("position", ["learned", "rotary"])
def test_texts_beyond_the_context_are_the_same(position: str) -> None:
    prompts = [[5, 6, 7], [4] * 20, [8]]
    sampler = Sampler(SamplingConfig(seed=3, temperature=4.0), 2)
    texts = [
        generate(begin, prompts, sampler, limits=[40, 30, 45], samples=[0, 1, 2]) for begin in begins(position=position)
    ]
    assert [text.ids for text in texts[0]] == [text.ids for text in texts[1]]
    assert max(len(text.ids) for text in texts[0]) > 16
    for one, other in zip(*texts, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-3)


def test_speculation_takes_pieces_back() -> None:
    reader, eager = begins(position="alibi")
    writer, _ = begins(seed=1)
    sampler = Sampler(SamplingConfig(temperature=0.0), 2)
    texts = [speculate(begin, writer, [5, 6], sampler, limit=30) for begin in (reader, eager)]
    assert texts[0].ids == texts[1].ids
    assert texts[0].drafted == texts[1].drafted


def test_beams_of_a_language_model() -> None:
    config = SearchConfig(beam=3, n_best=3)
    both = [PromptedDecoding(begin, [[5, 6], [7, 7, 7]], beam=3) for begin in begins()]
    same(*(beam_search(one, config, limits=[10, 12], **MARKS) for one in both))


def test_the_room_is_that_of_the_model() -> None:
    rows: list[TextRows] = [begin([[5] * 14, [6]]) for begin in begins()]
    for _ in range(4):
        assert rows[0].room == rows[1].room
        for one in rows:
            one.advance(torch.tensor([4, 5]))
