"""Generation: cached as uncached, a batch as each alone, and two models that write as one does."""

import copy
import itertools
from collections import Counter
from functools import partial
from typing import Any

import pytest
import torch

from clearhead.decode.generation import Continuation, generate, speculate
from clearhead.decode.packed import pack
from clearhead.decode.sampler import Sampler, history_of
from clearhead.decode.sampling import SamplingConfig, choose, uniforms_of
from clearhead.errors import ModelError
from clearhead.models.gpt import GPT
from tests.small import random_rows, small_gpt

EOS, CONTEXT = 2, 8
GREEDY = SamplingConfig(temperature=0.0, repetition_penalty=1.3, no_repeat_ngram=3)
SAMPLED = SamplingConfig(temperature=1.3, top_p=0.95, presence_penalty=0.2, no_repeat_ngram=4, seed=5)
PROMPTS = [*random_rows([5, 1, 8, 3, 11], seed=1), [EOS], [EOS, 7]]
LIMITS = [20, 17, 30, 3, 20, 25, 1]


def sampler_of(config: SamplingConfig, **settings: Any) -> Sampler:
    return Sampler(config, EOS, **{"forbidden": (0, 1), **settings})


def plain(model: GPT, prompt: list[int], sampler: Sampler, limit: int, sample: int) -> Continuation:
    """The same by its definition: everything computed anew for every piece."""
    found, window = Continuation(), prompt[-CONTEXT:]
    text = sampler.text(prompt)
    while len(found.ids) < limit and EOS not in found.ids:
        with torch.inference_mode():
            logits = model(torch.tensor([window]))[:, -1]
        history = history_of([text + found.ids], [len(text)], device="cpu")
        numbers = uniforms_of(sampler.config.seed, [sample], [len(found.ids)])
        piece = int(choose(sampler.adjusted(logits, history), sampler.config, numbers))
        found.ids.append(piece)
        found.log_probs.append(float(logits.log_softmax(-1)[0, piece]))
        window = [*(window if len(window) < CONTEXT else window[CONTEXT - CONTEXT // 2 :]), piece]
    found.reason = "end" if EOS in found.ids else "length"
    return found


def same(found: Continuation, expected: Continuation) -> None:
    assert (found.ids, found.reason) == (expected.ids, expected.reason)
    assert found.log_probs == pytest.approx(expected.log_probs, abs=1e-4)


@pytest.mark.parametrize("config", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("position", ["learned", "rotary", "alibi"])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_cached_in_a_batch_equals_uncached_alone_piece_for_piece(
    kv_heads: int, position: str, config: SamplingConfig
) -> None:
    """Prompts of mixed lengths, one above the context; windows slide, rows end and leave at different steps."""
    model, samples = small_gpt(n_kv_heads=kv_heads, position=position, max_seq_len=CONTEXT), [0, 1, 0, 7, 2, 3, 0]
    sampler = sampler_of(config, min_length=9)
    together = generate(model, PROMPTS, sampler, limits=LIMITS, samples=samples)
    for prompt, limit, sample, found in zip(PROMPTS, LIMITS, samples, together, strict=True):
        same(found, plain(model, prompt, sampler, limit, sample))


def test_packed_and_plain_weights_write_the_same() -> None:
    model = small_gpt(n_kv_heads=2, position="rotary", max_seq_len=CONTEXT)
    for config in (GREEDY, SAMPLED):
        settings: dict[str, Any] = {"limits": LIMITS, "samples": [0] * 7}
        texts = [generate(each, PROMPTS, sampler_of(config), **settings) for each in (model, pack(model))]
        for one, other in zip(*texts, strict=True):
            same(one, other)


def test_seed_and_sample_number_make_the_text() -> None:
    model = small_gpt()

    def text(seed: int, sample: int) -> list[int]:
        sampler = sampler_of(SamplingConfig(temperature=2.0, seed=seed), min_length=12)
        return generate(model, [[5, 6]], sampler, limits=[12], samples=[sample])[0].ids

    assert text(3, 0) == text(3, 0)
    assert len({tuple(text(seed, sample)) for seed in (3, 4) for sample in (0, 1)}) == 4


def test_why_a_text_ends() -> None:
    asked: list[list[int]] = [[], [], []]

    def stop(row: int, piece: int) -> bool:
        asked[row].append(piece)
        return row == 1 and len(asked[1]) == 3

    sampler, stops = sampler_of(SamplingConfig(temperature=9.0, seed=1)), [partial(stop, row) for row in range(3)]
    settings: dict[str, Any] = {"limits": [40, 40, 4], "samples": [0, 0, 0], "stopped": stops}
    texts = end, stop_string, length = generate(small_gpt(), [[5], [6], [7]], sampler, **settings)
    assert [one.reason for one in texts] == ["end", "stop", "length"]
    assert end.ids[-1] == EOS
    assert [len(one.ids) for one in (stop_string, length)] == [3, 4]
    assert asked == [end.ids[:-1], stop_string.ids, length.ids], "asked about every piece but the end mark"
    assert all(len(one.log_probs) == len(one.ids) for one in texts)
    assert generate(small_gpt(), [], sampler, limits=[], samples=[]) == []


def test_an_early_end_and_special_pieces_never_come() -> None:
    model = small_gpt()
    sampler = sampler_of(SamplingConfig(temperature=5.0), min_length=9)
    for found in generate(model, [[5]] * 30, sampler, limits=[12] * 30, samples=range(30)):
        assert len(found.ids) >= 9 + (found.reason == "end")
        assert not {0, 1} & set(found.ids)


def test_logits_that_are_no_numbers_are_one_clear_error() -> None:
    model = small_gpt()
    model.norm.weight.data[0] = float("nan")
    for call in (
        lambda: generate(model, [[5, 6]], sampler_of(GREEDY), limits=[3], samples=[0]),
        lambda: speculate(model, small_gpt(), [5, 6], sampler_of(GREEDY), limit=3),
        lambda: speculate(small_gpt(), model, [5, 6], sampler_of(GREEDY), limit=3),
    ):
        with pytest.raises(ModelError, match=r"^row 0, position 2: the best logit is nan, so no piece can be chosen$"):
            call()


def near(model: GPT, **other: Any) -> GPT:
    """A draft that is often right: the model with noise; or, with ``other`` sizes, one that knows nothing of it."""
    if other:
        return small_gpt(seed=9, **other)
    draft, noise = copy.deepcopy(model), torch.Generator().manual_seed(0)
    for weight in draft.parameters():
        weight.data += 0.01 * torch.randn(weight.shape, generator=noise)
    return draft


@pytest.mark.parametrize("drafted", [1, 3, 6])
@pytest.mark.parametrize("sizes", [{}, {"max_seq_len": 3}, {"max_seq_len": 64, "position": "rotary"}], ids=str)
def test_a_draft_changes_no_greedy_text(sizes: dict[str, Any], drafted: int) -> None:
    """Whatever the draft: windows of both slide, drafted pieces are taken back, the limit comes amid them."""
    model = small_gpt(position="alibi", n_kv_heads=2, max_seq_len=CONTEXT)
    draft = near(model, **sizes)
    sampler, prompts = sampler_of(GREEDY, min_length=17), PROMPTS[1:6:2]
    expected = generate(model, prompts, sampler, limits=[26, 25, 17], samples=[0] * 3)
    for prompt, limit, other in zip(prompts, [26, 25, 17], expected, strict=True):
        found = speculate(model, draft, prompt, sampler, limit=limit, drafted=drafted)
        same(found, other)
        assert 0 <= found.accepted <= found.drafted
        assert found.accepted > 5 or sizes


def test_a_draft_that_is_the_model_is_always_right() -> None:
    model = small_gpt(max_seq_len=64)
    for config in (GREEDY, SAMPLED):
        found = speculate(model, model, [5, 6, 7], sampler_of(config, min_length=41), limit=41, drafted=4)
        assert (found.accepted, found.drafted) == (32, 32), "4 of every 5 pieces, and one more by the model itself"


def test_an_end_or_a_stop_amid_drafted_pieces_ends_the_text() -> None:
    model, sampler = small_gpt(), sampler_of(SamplingConfig(temperature=9.0, seed=1))
    found = speculate(model, model, [5], sampler, limit=60, drafted=6)
    assert (found.reason, found.ids.index(EOS)) == ("end", len(found.ids) - 1)
    seen: list[int] = []
    stop = speculate(
        model,
        model,
        [5],
        sampler,
        limit=60,
        drafted=6,
        stopped=lambda piece: bool(seen.append(piece)) or len(seen) == 3,
    )
    assert (stop.reason, stop.ids, seen) == ("stop", found.ids[:3], found.ids[:3])
    assert len(stop.log_probs) == 3


def test_texts_with_a_draft_have_the_models_own_distribution() -> None:
    """The draft's own would have a statistic of 700."""
    vocab, limit, prompt, count = 4, 3, [EOS, 3, 3, 1], 450
    model = small_gpt(vocab_size=vocab, seed=3, max_seq_len=4)
    draft = small_gpt(vocab_size=vocab, seed=1, position="rotary", max_seq_len=3)
    config = SamplingConfig(temperature=3.0, repetition_penalty=1.2, frequency_penalty=0.5, seed=11)
    sampler = Sampler(config, EOS, forbidden=(0,))

    def probability(text: tuple[int, ...]) -> float:
        value, window = 1.0, prompt
        for place, piece in enumerate(text):
            with torch.inference_mode():
                logits = model(torch.tensor([window]))[:, -1]
            history = history_of([[*sampler.text(prompt), *text[:place]]], [len(prompt) - 1], device="cpu")
            value *= float(sampler.probs(logits, history)[0, piece])
            window = [*(window if len(window) < 4 else window[2:]), piece]
        return value

    texts = [
        text
        for length in range(1, limit + 1)
        for text in itertools.product(range(1, vocab), repeat=length)
        if EOS not in text[:-1] and (text[-1] == EOS or length == limit)
    ]
    found = [speculate(model, draft, prompt, sampler, limit=limit, drafted=2, sample=sample) for sample in range(count)]
    observed = Counter(tuple(one.ids) for one in found)
    expected = {text: count * probability(text) for text in texts}
    assert sum(expected.values()) == pytest.approx(count)
    assert min(expected.values()) > 5, "chi-square wants this many in every cell"
    assert len(texts) == 15
    statistic = sum((observed[text] - value) ** 2 / value for text, value in expected.items())
    assert statistic < 42.6, "chi-square, 14 degrees of freedom, p = 1e-4"
    assert 0 < sum(one.accepted for one in found) < sum(one.drafted for one in found), (
        "the draft is neither right nor wrong"
    )
