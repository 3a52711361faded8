"""The trace tells what the model computes: distributions, choices, and the bytes of the formula."""

import itertools
from itertools import pairwise

import pytest
import torch

from clearhead.decode.decoding import CachedDecoding
from clearhead.decode.generation import generate
from clearhead.decode.hypotheses import SearchConfig
from clearhead.decode.rows import Begin
from clearhead.decode.rules import forbid
from clearhead.decode.sampler import Sampler
from clearhead.decode.sampling import SamplingConfig
from clearhead.decode.search import beam_search
from clearhead.decode.trace import MakeMeter, TraceStep, text_reader, trace_greedy, translation_reader
from clearhead.decode.whole import whole_characters
from clearhead.inspect.traffic import CacheTraffic
from clearhead.models.transformer import Transformer
from clearhead.nn.layer import BlockConfig
from clearhead.text.characters import characters_of
from tests.small import begin_of, small, small_gpt, small_ngram, small_rnn

SOURCE = torch.tensor([[5, 9, 4, 7, 2]])
BOS, EOS, FORBIDDEN = 1, 2, [0, 1, 3]


def trace(model: Transformer, limit: int = 9, top: int = 5, meter: MakeMeter | None = None) -> list[TraceStep]:
    with torch.inference_mode():
        reader = translation_reader(model, SOURCE, limit=limit)
    return trace_greedy(reader, [BOS], limit=limit, ends=[EOS], rules=[forbid(FORBIDDEN)], top=top, meter=meter)


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


def trace_text(begin: Begin, prompt: list[int], limit: int) -> list[TraceStep]:
    with torch.inference_mode():
        reader = text_reader(begin, prompt[0], limit=len(prompt) + limit)
    return trace_greedy(reader, prompt, limit=limit, ends=[EOS], rules=[forbid(FORBIDDEN)], meter=CacheTraffic)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_a_text_has_the_bytes_of_the_formula_and_they_are_measured(kv_heads: int) -> None:
    layers, head_dim, width, prompt = 2, 4, 4, [5, 9, 4]
    steps = trace_text(begin_of(small_gpt(n_kv_heads=kv_heads)), prompt, 6)
    for number, step in enumerate(steps):
        read, written = 2 * layers * kv_heads * head_dim * width * len(step.input_ids), len(prompt) if not number else 1
        assert step.bytes_read == step.measured_read == read
        assert step.bytes_written == step.measured_written == 2 * layers * kv_heads * head_dim * width * written


@pytest.mark.parametrize("model", [small_gpt(seed=1), small_gpt(seed=2, position="rotary"), small_rnn(), small_ngram()])
def test_a_text_is_that_of_greedy_generation(model) -> None:
    begin, prompts = begin_of(model), [[5, 9, 4], [7]]
    sampler = Sampler(SamplingConfig(temperature=0.0), EOS, FORBIDDEN)
    found = generate(begin, prompts, sampler, limits=[8, 8], samples=[0, 0])
    for prompt, text in zip(prompts, found, strict=True):
        steps = trace_text(begin, prompt, 8)
        assert [step.chosen for step in steps] == text.ids
        for step in steps:
            assert sum(value for _, value in step.top) <= 1 + 1e-6


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_a_translation_moves_the_bytes_of_the_formula(kv_heads: int) -> None:
    steps = trace(small(n_kv_heads=kv_heads), meter=CacheTraffic)
    assert len(steps) > 1
    for step in steps:
        assert (step.measured_read, step.measured_written) == (step.bytes_read, step.bytes_written)
    unwatched = trace(small(n_kv_heads=kv_heads))
    assert [(step.chosen, step.top) for step in unwatched] == [(step.chosen, step.top) for step in steps]
    assert {(step.measured_read, step.measured_written) for step in unwatched} == {(None, None)}


@pytest.mark.long
def test_no_step_breaks_a_character_off() -> None:
    """The model's pieces are bytes and halves; the best of those that may come is chosen, and the rest shown."""
    pieces = [
        b"",
        b"",
        b"",
        b"",
        *(bytes([byte]) for byte in (0xE8, 0x8B, 0xB9, 0xF0, 0x9F)),
        b"\xe8\x8b",
        b"a",
        b" ",
        b"\xb9a",
    ]
    characters, halves = characters_of(pieces), 0
    for seed, limit, whole in itertools.product(range(4), (4, 7), (True, False)):
        with torch.inference_mode():
            reader = translation_reader(small(seed=seed), SOURCE, limit=limit)
        rules = [forbid([0, 1, 3]), *(whole_characters(characters, [limit]) if whole else [])]
        steps = trace_greedy(reader, [BOS], limit=limit, ends=[EOS], rules=rules)
        text = b"".join(pieces[step.chosen] for step in steps).decode("utf-8", "replace")
        assert not (whole and "\ufffd" in text)
        halves += "\ufffd" in text
    assert halves > 2
