"""Generation: cached as uncached, a batch as each alone, and two models that write as one does."""

import copy
import itertools
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clearhead.decode.generation import Continuation, generate, speculate
from clearhead.decode.sampler import Sampler, history_of
from clearhead.decode.sampling import SamplingConfig, choose, uniforms_of
from clearhead.engine.copies.onednn import PackedLinear
from clearhead.engine.copies.packed import pack
from clearhead.errors import ModelError
from clearhead.models.gpt import GPT
from clearhead.models.ngram import Ngram
from clearhead.models.rnn import RNNLanguageModel
from clearhead.text.characters import characters_of
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from tests.small import begin_of, random_rows, small_gpt, small_ngram, small_rnn
from tests.toy import demo_lines

Model = GPT | RNNLanguageModel | Ngram
EOS, CONTEXT = 2, 8
GREEDY = SamplingConfig(temperature=0.0, repetition_penalty=1.3, no_repeat_ngram=3)
SAMPLED = SamplingConfig(temperature=1.3, top_p=0.95, presence_penalty=0.2, no_repeat_ngram=4, seed=5)
PROMPTS = [*random_rows([5, 1, 8, 3, 11], seed=1), [EOS], [EOS, 7]]
LIMITS = [20, 17, 30, 3, 20, 25, 1]


def sampler_of(config: SamplingConfig, **settings: Any) -> Sampler:
    return Sampler(config, EOS, **{"forbidden": (0, 1), **settings})


def computed_anew(
    model: Model, prompts: list[list[int]], sampler: Sampler, *, limits: list[int], samples: list[int]
) -> list[Continuation]:
    """What ``generate`` gives by its definition: no cache and no padding, each window read whole for every piece."""
    found, texts = [Continuation() for _ in prompts], [sampler.text(prompt) for prompt in prompts]
    windows = [prompt[-CONTEXT:] if isinstance(model, GPT) else prompt for prompt in prompts]
    for position in range(max(limits)):
        going = [row for row, one in enumerate(found) if len(one.ids) < limits[row] and EOS not in one.ids]
        logits = next_logits(model, [windows[row] for row in going])
        history = history_of(
            [texts[row] + found[row].ids for row in going], [len(texts[row]) for row in going], device="cpu"
        )
        numbers = uniforms_of(sampler.config.seed, [samples[row] for row in going], [position] * len(going))
        pieces = choose(sampler.adjusted(logits, history), sampler.config, numbers)
        log_probs = logits.log_softmax(-1)[torch.arange(len(going)), pieces].tolist()
        for row, piece, log_prob in zip(going, pieces.tolist(), log_probs, strict=True):
            found[row].take(piece, log_prob, ends=[EOS], limit=limits[row], stopped=lambda piece: False)
            full = isinstance(model, GPT) and len(windows[row]) == CONTEXT
            windows[row] = [*windows[row][CONTEXT - CONTEXT // 2 if full else 0 :], piece]
    return found


@torch.inference_mode()
def next_logits(model: Model, windows: list[list[int]]) -> Tensor:
    """Of what follows each window; those of one length in one call."""
    found: dict[int, Tensor] = {}
    for length in {len(window) for window in windows}:
        rows = [row for row, window in enumerate(windows) if len(window) == length]
        if isinstance(model, Ngram):
            logits = torch.tensor(np.array([model.next_probs(windows[row]) for row in rows])).log().float()
        else:
            model.embedding.max_seq_len = max(length, model.config.max_seq_len)  # a recurrent one reads all at once
            logits = model(torch.tensor([windows[row] for row in rows]))[:, -1]
        found |= dict(zip(rows, logits, strict=True))
        if isinstance(model, RNNLanguageModel):
            model.embedding.max_seq_len = model.config.max_seq_len
    return torch.stack([found[row] for row in range(len(windows))])


def same(found: Continuation, expected: Continuation, tolerance: float = 1e-4) -> None:
    assert (found.ids, found.reason) == (expected.ids, expected.reason)
    assert found.log_probs == pytest.approx(expected.log_probs, abs=tolerance)


@pytest.fixture(scope="module")
def text_prompts() -> tuple[list[list[int]], int]:
    """Ids of 200 beginnings of sentences, 1 to 40 characters, a third behind an end mark, and the vocabulary's size."""
    lines = [english for _, english in demo_lines(200)]
    tokenizer = Tokenizer.train(lines, TokenizerConfig(kind="char", min_frequency=1))
    found = [tokenizer.encode(line[: 1 + 7 * row % 40]) for row, line in enumerate(lines)]
    return [[EOS] * (row % 3 == 0) + ids for row, ids in enumerate(found)], tokenizer.vocab_size


VARIANTS = {
    f"{heads}-{position}": partial(small_gpt, n_kv_heads=kv_heads, position=position, max_seq_len=CONTEXT)
    for heads, kv_heads in (("mha", 4), ("gqa", 2), ("mqa", 1))
    for position in ("rotary", "learned", "alibi")
} | {"lstm": small_rnn, "gru": partial(small_rnn, cell="gru"), "ngram": small_ngram}


@pytest.mark.long_but(every=6)
@pytest.mark.parametrize("config", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_in_a_batch_equals_uncached_alone_piece_for_piece(
    variant: str, config: SamplingConfig, text_prompts: tuple[list[list[int]], int]
) -> None:
    """Most prompts are above the context; windows slide, rows leave at different steps."""
    prompts, vocab_size = text_prompts
    assert (len(prompts), len({len(prompt) for prompt in prompts}) > 30) == (200, True)
    model, sampler = VARIANTS[variant](vocab_size=vocab_size), sampler_of(config, min_length=3)
    settings: dict[str, Any] = {"limits": [1 + row % 13 for row in range(200)], "samples": list(range(200))}
    together = generate(begin_of(model), prompts, sampler, **settings)
    for found, expected in zip(together, computed_anew(model, prompts, sampler, **settings), strict=True):
        same(found, expected, 1e-3)  # of logits above 10
    assert len({tuple(found.ids) for found in together}) > 100


@pytest.mark.long
def test_packed_and_plain_weights_write_the_same() -> None:
    model = small_gpt(n_kv_heads=2, position="rotary", max_seq_len=CONTEXT)
    for config in (GREEDY, SAMPLED):
        settings: dict[str, Any] = {"limits": LIMITS, "samples": [0] * 7}
        texts = [
            generate(begin_of(each), PROMPTS, sampler_of(config), **settings)
            for each in (model, pack(model, PackedLinear))
        ]
        for one, other in zip(*texts, strict=True):
            same(one, other)


def test_seed_and_sample_number_make_the_text() -> None:
    model = small_gpt()

    def text(seed: int, sample: int) -> list[int]:
        sampler = sampler_of(SamplingConfig(temperature=2.0, seed=seed), min_length=12)
        return generate(begin_of(model), [[5, 6]], sampler, limits=[12], samples=[sample])[0].ids

    assert text(3, 0) == text(3, 0)
    assert len({tuple(text(seed, sample)) for seed in (3, 4) for sample in (0, 1)}) == 4


def test_why_a_text_ends() -> None:
    asked: list[list[int]] = [[], [], []]

    def stop(row: int, piece: int) -> bool:
        asked[row].append(piece)
        return row == 1 and len(asked[1]) == 3

    sampler, stops = sampler_of(SamplingConfig(temperature=9.0, seed=1)), [partial(stop, row) for row in range(3)]
    settings: dict[str, Any] = {"limits": [40, 40, 4], "samples": [0, 0, 0], "stopped": stops}
    texts = end, stop_string, length = generate(begin_of(small_gpt()), [[5], [6], [7]], sampler, **settings)
    assert [one.reason for one in texts] == ["end", "stop", "length"]
    assert end.ids[-1] == EOS
    assert [len(one.ids) for one in (stop_string, length)] == [3, 4]
    assert asked == [end.ids[:-1], stop_string.ids, length.ids], "asked about every piece but the end mark"
    assert all(len(one.log_probs) == len(one.ids) for one in texts)
    assert generate(begin_of(small_gpt()), [], sampler, limits=[], samples=[]) == []


def test_an_early_end_and_special_pieces_never_come() -> None:
    model = small_gpt()
    sampler = sampler_of(SamplingConfig(temperature=5.0), min_length=9)
    for found in generate(begin_of(model), [[5]] * 30, sampler, limits=[12] * 30, samples=range(30)):
        assert len(found.ids) >= 9 + (found.reason == "end")
        assert not {0, 1} & set(found.ids)


def test_logits_that_are_no_numbers_are_one_clear_error() -> None:
    model = small_gpt()
    model.norm.weight.data[0] = float("nan")
    for call in (
        lambda: generate(begin_of(model), [[5, 6]], sampler_of(GREEDY), limits=[3], samples=[0]),
        lambda: speculate(begin_of(model), begin_of(small_gpt()), [5, 6], sampler_of(GREEDY), limit=3),
        lambda: speculate(begin_of(small_gpt()), begin_of(model), [5, 6], sampler_of(GREEDY), limit=3),
    ):
        with pytest.raises(ModelError, match=r"^row 0, position 2: the best logit is nan, so no piece can be chosen$"):
            call()


def near(model: Model, **other: Any) -> Model:
    """A draft that is often right: the model with noise; or, with ``other`` sizes, one that knows nothing of it."""
    if isinstance(model, Ngram):
        return small_ngram(order=2)
    if other:
        return small_gpt(seed=9, **other)
    draft, noise = copy.deepcopy(model), torch.Generator().manual_seed(0)
    for weight in draft.parameters():
        weight.data += 0.01 * torch.randn(weight.shape, generator=noise)
    return draft


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("drafted", [1, 3, 6])
@pytest.mark.parametrize("sizes", [{}, {"max_seq_len": 3}, {"max_seq_len": 64, "position": "rotary"}], ids=str)
def test_a_draft_changes_no_greedy_text(sizes: dict[str, Any], drafted: int) -> None:
    """Whatever the draft: windows of both slide, drafted pieces are taken back, the limit comes amid them."""
    model = small_gpt(position="alibi", n_kv_heads=2, max_seq_len=CONTEXT)
    draft = near(model, **sizes)
    sampler, prompts = sampler_of(GREEDY, min_length=17), PROMPTS[1:6:2]
    expected = generate(begin_of(model), prompts, sampler, limits=[26, 25, 17], samples=[0] * 3)
    for prompt, limit, other in zip(prompts, [26, 25, 17], expected, strict=True):
        found = speculate(begin_of(model), begin_of(draft), prompt, sampler, limit=limit, drafted=drafted)
        same(found, other)
        assert 0 <= found.accepted <= found.drafted
        assert found.accepted > 5 or sizes


DRAFTS = {"lstm": small_rnn, "gru": partial(small_rnn, cell="gru"), "ngram": small_ngram}


@pytest.mark.long_but(every=12)
@pytest.mark.unchecked
@pytest.mark.parametrize("drafted", [1, 4, 40])
@pytest.mark.parametrize("kind", DRAFTS)
def test_models_without_a_window_read_and_write_ahead_too(kind: str, drafted: int) -> None:
    """As a draft of a GPT, with a GPT as a draft, and with one of their own kind that is often right."""
    other, gpt = DRAFTS[kind](), small_gpt(max_seq_len=CONTEXT)
    sampler, prompt = sampler_of(GREEDY, min_length=60), PROMPTS[4]
    for model, draft in ((gpt, other), (other, gpt), (other, near(other))):
        (expected,) = generate(begin_of(model), [prompt], sampler, limits=[60], samples=[0])
        found = speculate(begin_of(model), begin_of(draft), prompt, sampler, limit=60, drafted=drafted)
        same(found, expected)
        assert 0 <= found.accepted <= found.drafted
    assert found.accepted > 5


@pytest.mark.parametrize("model", [small_gpt(max_seq_len=64), small_rnn(), small_ngram()], ids=["gpt", "rnn", "ngram"])
def test_a_draft_that_is_the_model_is_always_right(model: Model) -> None:
    for config in (GREEDY, SAMPLED):
        found = speculate(
            begin_of(model), begin_of(model), [5, 6, 7], sampler_of(config, min_length=41), limit=41, drafted=4
        )
        assert (found.accepted, found.drafted) == (32, 32), "4 of every 5 pieces, and one more by the model itself"


def test_an_end_or_a_stop_amid_drafted_pieces_ends_the_text() -> None:
    model, sampler = small_gpt(), sampler_of(SamplingConfig(temperature=9.0, seed=1))
    found = speculate(begin_of(model), begin_of(model), [5], sampler, limit=60, drafted=6)
    assert (found.reason, found.ids.index(EOS)) == ("end", len(found.ids) - 1)
    seen: list[int] = []
    stop = speculate(
        begin_of(model),
        begin_of(model),
        [5],
        sampler,
        limit=60,
        drafted=6,
        stopped=lambda piece: bool(seen.append(piece)) or len(seen) == 3,
    )
    assert (stop.reason, stop.ids, seen) == ("stop", found.ids[:3], found.ids[:3])
    assert len(stop.log_probs) == 3


@pytest.mark.long
@pytest.mark.unchecked
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
    found = [
        speculate(begin_of(model), begin_of(draft), prompt, sampler, limit=limit, drafted=2, sample=sample)
        for sample in range(count)
    ]
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


PIECES = [
    b"",
    b"",
    b"",
    *(bytes([byte]) for byte in (0xE8, 0x8B, 0xB9, 0xF0, 0x9F)),
    b"\xe8\x8b",
    b"\xb9a",
    b"a",
    b" ",
    b"\x8b\xb9",
]


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("config", [SamplingConfig(temperature=0.0), SamplingConfig(temperature=2.0, seed=1)], ids=str)
def test_texts_of_bytes_are_whole_also_at_the_limit(config: SamplingConfig) -> None:
    """Drawn, greedy, and written ahead by a draft; prompts of one piece, which the state is not read from."""
    broken, (prompts, limit) = 0, ([[EOS], [10, 10, 10, 10], [3, 4, 5]], 4)
    for characters in (characters_of(PIECES), None):
        sampler = sampler_of(config, characters=characters, limit=limit)
        for seed in range(2):
            begin, draft = (begin_of(small_gpt(vocab_size=len(PIECES), seed=number)) for number in (seed, seed + 9))
            drawn = generate(begin, prompts, sampler, limits=[limit] * 3, samples=[0, 1, 2])
            ahead = [speculate(begin, draft, prompt, sampler, limit=limit, sample=1) for prompt in prompts]
            assert config.temperature or [one.ids for one in ahead] == [one.ids for one in drawn]
            texts = [b"".join(PIECES[piece] for piece in one.ids).decode("utf-8", "replace") for one in drawn + ahead]
            halves = [text for text in texts if "\ufffd" in text]
            assert not (characters and halves)
            broken += len(halves)
    assert broken > 2, "without the rule there are halves"
