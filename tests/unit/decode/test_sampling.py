"""Sampling: what penalties, bans and the kept set leave, and that a row depends on itself and its number alone."""

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clearhead.config import parse
from clearhead.decode.sampling import (
    History,
    SamplingConfig,
    adjust,
    choose,
    draw,
    filtered,
    uniform_of,
    uniforms_of,
)
from clearhead.errors import ClearheadError, ModelError, UsageError

OFF = float("-inf")
VOCAB, EOS = 5, 0
EVERYTHING = SamplingConfig(
    temperature=0.7,
    top_k=4,
    top_p=0.9,
    min_p=0.05,
    typical_p=0.95,
    repetition_penalty=1.3,
    presence_penalty=0.4,
    frequency_penalty=0.2,
    no_repeat_ngram=3,
)


def history(rows: list[list[int]], prompts: list[int] | None = None, *, extra: int = 0, pad: int = -7) -> History:
    """Returns rows padded with ``pad``, which is no piece."""
    width = max(map(len, rows), default=0) + extra
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], dtype=torch.long).view(len(rows), width)
    return History(ids, torch.tensor([len(row) for row in rows]), torch.tensor(prompts or [0] * len(rows)))


def random_histories(count: int, pieces: int, seed: int) -> list[list[int]]:
    chance = random.Random(seed)
    return [[chance.randrange(pieces) for _ in range(chance.randrange(20))] for _ in range(count)]


def banned_by(
    rows: list[list[int]], *, vocab: int = VOCAB, config: SamplingConfig | None = None, **bans: Any
) -> Tensor:
    return adjust(torch.zeros(len(rows), vocab), history(rows), config or SamplingConfig(), eos_id=EOS, **bans) == OFF


def kept(logits: list[float], **settings: Any) -> list[int]:
    """Returns the pieces that may be drawn."""
    scores = filtered(torch.tensor([logits]), SamplingConfig(**settings))[0]
    return torch.isfinite(scores).nonzero().flatten().tolist()


def logs(*probs: float) -> list[float]:
    return [math.log(p) for p in probs]


# ------------------------------------------------------------------------------------------------ penalties and bans


def test_a_bias_is_added_before_all_else() -> None:
    logits = torch.tensor([[2.0, -2.0, 4.0, 1.0, 1.0], [0.0] * 5])
    biased = SamplingConfig(bias=((1, 4.0), (2, -1.0), (2, -2.0)), repetition_penalty=2.0)
    found = adjust(logits, history([[1, 2], []]), biased, eos_id=EOS)
    assert found.tolist() == [[2.0, 1.0, 0.5, 1.0, 1.0], [0.0, 4.0, -3.0, 0.0, 0.0]]
    assert logits.tolist()[0] == [2.0, -2.0, 4.0, 1.0, 1.0], "the input stays as it was"


def test_by_default_nothing_changes() -> None:
    logits = torch.randn(2, VOCAB, generator=torch.Generator().manual_seed(0))
    assert torch.equal(adjust(logits, history([[1, 1], [2]]), SamplingConfig(), eos_id=EOS), logits)
    scores = filtered(logits, SamplingConfig())
    torch.testing.assert_close(scores.softmax(-1), logits.double().softmax(-1))


def test_penalties_count_the_prompt_or_not() -> None:
    logits = torch.tensor([[2.0, -2.0, 4.0, 1.0, 1.0]])
    seen = history([[0, 1, 2, 2, 1]], [2])  # the prompt is 0 1
    repeated = adjust(logits, seen, SamplingConfig(repetition_penalty=2.0), eos_id=EOS)
    assert repeated.tolist() == [[1.0, -4.0, 2.0, 1.0, 1.0]]
    present = adjust(logits, seen, SamplingConfig(presence_penalty=0.5), eos_id=EOS)
    assert present.tolist() == [[2.0, -2.5, 3.5, 1.0, 1.0]]
    frequent = adjust(logits, seen, SamplingConfig(frequency_penalty=0.5), eos_id=EOS)
    assert frequent.tolist() == [[2.0, -2.5, 3.0, 1.0, 1.0]]
    assert logits.tolist() == [[2.0, -2.0, 4.0, 1.0, 1.0]], "the input stays as it was"


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_no_run_of_pieces_comes_twice(size: int) -> None:
    rows = random_histories(60, 3, seed=size)
    found = banned_by(rows, config=SamplingConfig(no_repeat_ngram=size))
    for row, banned in zip(rows, found.tolist(), strict=True):
        runs = {tuple(row[at : at + size]) for at in range(len(row) - size + 1)}
        expected = [len(row) >= size - 1 and (*row[len(row) - size + 1 :], piece) in runs for piece in range(VOCAB)]
        assert banned == expected, row
    assert found.any(dim=1).sum() > 5


def test_bad_words_are_not_completed() -> None:
    words = [[4], [1, 3], [2, 1, 0], [0] * 4 + [3], [0] * 30]
    rows = [[], [1], [0], *random_histories(60, 3, seed=0)]
    found = banned_by(rows, bad_words=words)
    for row, banned in zip(rows, found.tolist(), strict=True):
        ended = [
            word[-1] for word in words if row[len(row) - len(word) + 1 :] == word[:-1] and len(row) >= len(word) - 1
        ]
        assert [piece for piece in range(VOCAB) if banned[piece]] == sorted(set(ended)), row
    assert found[:, [0, 3]].any(dim=0).all()
    assert banned_by([[], []], bad_words=words).tolist() == [[False] * 4 + [True]] * 2


def test_an_empty_bad_word_is_refused() -> None:
    with pytest.raises(UsageError, match="bad_words"):
        banned_by([[1]], bad_words=[[1], []])


def test_the_end_waits_for_enough_generated_pieces() -> None:
    logits, seen = torch.zeros(3, VOCAB), history([[1, 2, 3], [1, 2, 3], [1]], [1, 2, 1])
    found = adjust(logits, seen, SamplingConfig(), eos_id=EOS, min_length=2) == OFF
    assert found[:, EOS].tolist() == [False, True, True]
    assert not found[:, 1:].any()


def test_rows_know_neither_batch_mates_nor_padding() -> None:
    rows, vocab = random_histories(20, 6, seed=3), 6
    prompts = [len(row) // 2 for row in rows]
    logits = 3 * torch.randn(len(rows), vocab, generator=torch.Generator().manual_seed(1))
    bans: dict[str, Any] = {"eos_id": EOS, "min_length": 3, "bad_words": [[5, 5], [1, 2, 3]]}
    uniforms = uniforms_of(11, range(len(rows)), [len(row) for row in rows])
    whole = adjust(logits, history(rows, prompts, extra=3, pad=99), EVERYTHING, **bans)
    pieces = choose(whole, EVERYTHING, uniforms)
    for row, content in enumerate(rows):
        alone = adjust(logits[row : row + 1], history([content], prompts[row : row + 1]), EVERYTHING, **bans)
        assert torch.equal(alone[0], whole[row])
        assert torch.equal(filtered(alone, EVERYTHING)[0], filtered(whole, EVERYTHING)[row])
        assert choose(alone, EVERYTHING, uniforms[row : row + 1]).tolist() == [int(pieces[row])]


# ------------------------------------------------------------------------------------------------------ the kept set


def test_each_filter_keeps_what_it_says() -> None:
    logits = logs(0.1, 0.4, 0.05, 0.3, 0.15)
    assert kept(logits, top_k=2) == [1, 3]
    assert kept(logits, top_k=99) == [0, 1, 2, 3, 4]
    assert kept(logits, top_p=0.69) == [1, 3]
    assert kept(logits, top_p=0.71) == [1, 3, 4]
    assert kept(logits, min_p=0.3) == [1, 3, 4]
    # entropy 1.39; surprises 2.30 0.92 3.00 1.20 1.90: nearest are 3, 1 (0.3 + 0.4), 4, 0, 2
    assert kept(logits, typical_p=0.2) == [3]
    assert kept(logits, typical_p=0.71) == [1, 3, 4]
    assert kept(logs(0.9, 0.05, 0.05), typical_p=0.01) == [0]


def test_filters_see_what_the_one_before_has_left() -> None:
    logits = logs(0.4, 0.3, 0.2, 0.1)
    assert kept(logits, top_k=2, top_p=0.6) == [0, 1]
    assert kept(logits, top_k=2, top_p=0.55) == [0], "0.4 is 0.57 of what top-k leaves"
    assert kept(logits, temperature=0.5, top_p=0.5) == [0], "and 0.53 of the squares"
    assert kept(logits, top_p=0.5) == [0, 1]


def test_ties_are_settled_the_same_way_always() -> None:
    assert kept([1.0, 2.0, 1.0, 2.0, 1.0], top_k=3) == [0, 1, 2, 3, 4], "what ties with the last one is kept"
    assert kept([1.0, 2.0, 1.0, 2.0], top_k=1) == [1, 3]
    assert kept([1.0, 2.0, 1.0, 2.0], top_p=0.01) == [1], "the lowest id"
    assert kept([0.0] * 10, top_p=0.35) == [0, 1, 2, 3]
    assert kept([0.0] * 4, min_p=1.0) == [0, 1, 2, 3]
    assert kept([0.0] * 4, typical_p=0.1) == [0, 1, 2, 3]
    assert len(kept([0.0] * 9, typical_p=1 - 2**-53)) == 9, "which sum to less"
    assert kept([1.0, 2.0, 1.0, 2.0], temperature=0.0) == [1]


@pytest.mark.parametrize("top_k", [0, 1])
@pytest.mark.parametrize("top_p", [0.0, 1e-9, 0.5])
@pytest.mark.parametrize("min_p", [0.0, 1.0])
@pytest.mark.parametrize("typical_p", [1e-9, 1.0])
def test_one_piece_is_always_left(top_k: int, top_p: float, min_p: float, typical_p: float) -> None:
    config = SamplingConfig(top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p)
    rows = torch.tensor([[0.0, 0.0, 0.0], [OFF, 1e30, OFF], [1.0, 2.0, 3.0], [-1e30, -1e30, 0.0]])
    scores = filtered(rows, config)
    assert scores.amax(dim=1).tolist() == [0.0] * 4
    assert not scores.isnan().any()
    assert scores[rows == OFF].eq(OFF).all()


@pytest.mark.parametrize("temperature", [1e-320, 1e-30, 1e30])
def test_no_temperature_overflows(temperature: float) -> None:
    scores = filtered(torch.tensor([[1.0, -1e30, 3.0, OFF]]), SamplingConfig(temperature=temperature))
    assert not scores.isnan().any()
    assert scores[0].argmax() == 2
    assert scores[0, 3] == OFF


# ------------------------------------------------------------------------------------------------------------ choice


def test_the_number_picks_the_piece() -> None:
    probs = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]], dtype=torch.float64)
    for number, piece in [(0.0, 1), (0.2499, 1), (0.25, 3), (0.7499, 3), (0.75, 4), (1 - 2**-53, 4), (1.0, 4)]:
        assert draw(probs, torch.tensor([number], dtype=torch.float64)).tolist() == [piece], number
        assert draw(3 * probs, torch.tensor([number], dtype=torch.float64)).tolist() == [piece], number
    tenths = torch.full((1, 10), 0.1, dtype=torch.float64)  # they sum to less than 1
    assert draw(torch.nn.functional.pad(tenths, (0, 2)), torch.tensor([1 - 2**-53], dtype=torch.float64)).tolist() == [
        9
    ]


def test_greedy_takes_the_lowest_of_the_best() -> None:
    logits = torch.tensor([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0]])
    config = SamplingConfig(temperature=0.0)
    for number in (0.0, 0.999):
        numbers = torch.full((2,), number, dtype=torch.float64)
        assert choose(logits, config, numbers).tolist() == [1, 0]
        assert draw(filtered(logits, config).softmax(-1), numbers).tolist() == [1, 0]


def test_pieces_come_as_often_as_their_probability_says() -> None:
    count, logits = 4000, torch.tensor([[0.3, 1.5, -0.2, 0.9, 0.0]])
    config = SamplingConfig(temperature=1.3, top_k=4)
    pieces = choose(logits.expand(count, -1), config, uniforms_of(5, range(count), [7] * count))
    expected = count * filtered(logits, config).softmax(-1)[0]
    observed = torch.bincount(pieces, minlength=VOCAB)
    assert observed[2] == 0
    possible = expected > 0
    statistic = ((observed - expected) ** 2 / expected)[possible].sum()
    assert statistic < 21.1, "chi-square, 3 degrees of freedom, p = 1e-4"


def texts(samples: list[int], length: int = 12) -> list[list[int]]:
    """Returns texts of a toy model, all in one batch; its logits follow from the last piece and the length."""
    table = 2 * torch.randn(length, VOCAB, VOCAB, generator=torch.Generator().manual_seed(4))
    rows = [[sample % VOCAB] for sample in samples]
    for step in range(length):
        logits = table[step, torch.tensor([row[-1] for row in rows])]
        adjusted = adjust(logits, history(rows, [1] * len(rows)), EVERYTHING, eos_id=EOS)
        pieces = choose(adjusted, EVERYTHING, uniforms_of(EVERYTHING.seed, samples, [step] * len(rows)))
        rows = [[*row, piece] for row, piece in zip(rows, pieces.tolist(), strict=True)]
    return rows


def test_same_seed_same_text_whatever_the_batch() -> None:
    together = texts([0, 1, 2, 3, 4, 5])
    torch.manual_seed(99)
    assert [texts([sample])[0] for sample in range(6)] == together
    assert texts([5, 2]) == [together[5], together[2]]
    assert together[0] != together[5], "two samples of one prompt differ"


# ----------------------------------------------------------------------------------------------------------- numbers


def test_numbers_follow_from_their_integers_alone() -> None:
    expected = uniform_of(7, 3, 5)
    assert expected == 0.6095740243796459, "texts of a seed stay what they were"
    np.random.seed(1)
    torch.manual_seed(1)
    assert uniform_of(7, 3, 5) == expected
    assert uniforms_of(7, [0, 3, 3], [5, 4, 5]).tolist() == [uniform_of(7, 0, 5), uniform_of(7, 3, 4), expected]
    counted = list(itertools.product(range(4), range(4), range(4), range(3)))
    numbers = {uniform_of(seed, sample, at, stream=stream) for seed, sample, at, stream in counted}
    assert len(numbers) == len(counted)
    assert 0.0 <= uniform_of(2**64 - 1, 0, 0) < 1.0


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("axis", ["seed", "sample", "position"])
def test_numbers_are_even_and_unrelated_along_each_axis(axis: str) -> None:
    count = 4000
    along = {
        "seed": [uniform_of(i, 0, 0) for i in range(count)],
        "sample": [uniform_of(0, i, 0) for i in range(count)],
        "position": [uniform_of(0, 0, i) for i in range(count)],
    }[axis]
    numbers = np.array(along)
    assert 0 <= numbers.min() < numbers.max() < 1
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    assert ((counts - count / 20) ** 2 / (count / 20)).sum() < 50.8, "chi-square, 19 degrees of freedom, p = 1e-4"
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 4 / math.sqrt(count)


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_refused(value: float, temperature: float) -> None:
    config, logits = SamplingConfig(temperature=temperature), torch.zeros(2, VOCAB)
    logits[1, 2] = value
    with pytest.raises(ModelError, match=rf"row 1, position 3: .*{value}") as error:
        adjust(logits, history([[1], [1, 2, 3]]), config, eos_id=EOS)
    assert "\n" not in str(error.value)
    for function in (
        lambda: choose(logits, config, torch.zeros(2, dtype=torch.float64)),
        lambda: filtered(logits, config),
    ):
        with pytest.raises(ModelError, match=rf"row 1: .*{value}"):
            function()


def test_a_row_without_pieces_is_refused() -> None:
    nothing = torch.full((1, VOCAB), OFF)
    for temperature in (0.0, 1.0):
        with pytest.raises(ModelError, match=r"row 0: .*-inf"):
            choose(nothing, SamplingConfig(temperature=temperature), torch.zeros(1, dtype=torch.float64))
    with pytest.raises(ModelError, match="row 1, position 2: every piece is banned"):
        adjust(
            torch.zeros(2, VOCAB),
            history([[1], [1, 2]]),
            SamplingConfig(),
            eos_id=EOS,
            bad_words=[[2, piece] for piece in range(VOCAB)],
        )
    for probs in ([0.0, 0.0], [float("nan"), 1.0], [1.0, float("inf")]):
        with pytest.raises(ModelError, match=r"row 0: .* sum to"):
            draw(torch.tensor([probs], dtype=torch.float64), torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("typical_p", 0.0),
        ("repetition_penalty", 0.0),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("no_repeat_ngram", -1),
        ("seed", -1),
    ],
)
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ClearheadError, match=name):
        parse(SamplingConfig, {name: value}, source="recipe")
