"""The trace tells what the model computes: distributions, choices, and the bytes of the formula."""

from itertools import pairwise

import pytest
import torch

from clearhead.decode.decoding import CachedDecoding
from clearhead.decode.rules import forbid
from clearhead.decode.search import SearchConfig, beam_search
from clearhead.decode.trace import TraceStep, trace_greedy
from clearhead.models.transformer import Transformer
from clearhead.nn.layer import BlockConfig
from tests.small import small

SOURCE = torch.tensor([[5, 9, 4, 7, 2]])
BOS, EOS, FORBIDDEN = 1, 2, [0, 1, 3]


def trace(model: Transformer, limit: int = 9, top: int = 5) -> list[TraceStep]:
    return trace_greedy(model, SOURCE, limit=limit, bos_id=BOS, eos_id=EOS, forbidden=FORBIDDEN, top=top)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_bytes_are_those_of_the_formula(kv_heads: int) -> None:
    layers, head_dim, width = 2, 4, 4
    for step in trace(small(n_kv_heads=kv_heads)):
        positions = len(step.input_ids) + SOURCE.shape[1]
        assert step.bytes_read == 2 * layers * kv_heads * head_dim * width * positions
        assert step.bytes_written == 2 * layers * kv_heads * head_dim * width


def test_steps_are_the_models_own_distribution() -> None:
    model = small(seed=2)
    steps = trace(model, top=3)
    for step in steps:
        with torch.inference_mode():
            probs = model(SOURCE, torch.tensor([step.input_ids]))[0, -1].softmax(-1)
        values, ids = probs.topk(3)
        assert [piece for piece, _ in step.top] == ids.tolist()
        assert [value for _, value in step.top] == pytest.approx(values.tolist(), abs=1e-5)
        allowed = [piece for piece in range(13) if piece not in FORBIDDEN]
        assert step.chosen == allowed[int(probs[allowed].argmax())]
    for before, after in pairwise(steps):
        assert after.input_ids == [*before.input_ids, before.chosen]


def test_the_choices_are_those_of_greedy_search() -> None:
    lengths = set()
    for seed in range(8):
        model = small(seed=seed)
        with torch.inference_mode():
            decoding = CachedDecoding(model, SOURCE, None)
        ((best,),) = beam_search(
            decoding, SearchConfig(1), limits=[9], bos_id=BOS, eos_id=EOS, rules=[forbid(FORBIDDEN)]
        )
        chosen = [step.chosen for step in trace(model)]
        assert chosen == best.ids + [EOS] * best.complete
        lengths.add(len(chosen))
    assert 9 in lengths, "none reached the limit"
    assert len(lengths) > 1, "none ended"


def test_without_a_cache_no_bytes_are_claimed_and_a_small_vocabulary_has_a_short_top() -> None:
    steps = trace(small(block=BlockConfig(norm="instance")), top=50)
    assert {(step.bytes_read, step.bytes_written) for step in steps} == {(0, 0)}
    assert {len(step.top) for step in steps} == {13}
