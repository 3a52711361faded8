"""Parity: penalties, bans and kept sets are those of Hugging Face's logits processors."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.generation import logits_process as theirs

from clearhead.decode.sampling import History, SamplingConfig, adjust, filtered

ROWS, VOCAB, LENGTH, EOS = 8, 97, 24, 0
GRID = [
    dict(zip(("temperature", "top_k", "top_p", "min_p", "typical_p"), values, strict=True))
    for values in itertools.product(
        (0.5, 1.0, 1.7), (0, 1, 10, 200), (1.0, 0.9, 0.3), (0.0, 0.02, 0.3), (1.0, 0.8, 0.2)
    )
]


def random_logits(seed: int, scale: float, dtype: torch.dtype) -> Tensor:
    return scale * torch.randn(ROWS, VOCAB, generator=torch.Generator().manual_seed(seed)).to(dtype)


def random_history(seed: int, pieces: int) -> History:
    """Rows of one length: Hugging Face pads on the other side."""
    ids = torch.randint(pieces, (ROWS, LENGTH), generator=torch.Generator().manual_seed(seed))
    return History(ids, torch.full((ROWS,), LENGTH), torch.full((ROWS,), LENGTH // 2))


def warpers(config: SamplingConfig) -> LogitsProcessorList:
    """The processors that their ``generate`` makes of these settings, in its order."""
    found: list[Any] = [theirs.TemperatureLogitsWarper(config.temperature)]
    if config.top_k:
        found.append(theirs.TopKLogitsWarper(config.top_k))
    if config.top_p < 1:
        found.append(theirs.TopPLogitsWarper(config.top_p))
    if config.min_p:
        found.append(theirs.MinPLogitsWarper(config.min_p))
    if config.typical_p < 1:
        found.append(theirs.TypicalLogitsWarper(config.typical_p))
    return LogitsProcessorList(found)


def assert_same_kept(logits: Tensor, settings: dict[str, Any]) -> None:
    config = SamplingConfig(**settings)
    expected = warpers(config)(torch.zeros(ROWS, 0, dtype=torch.long), logits)
    found = filtered(logits, config)
    assert torch.equal(found.isfinite(), expected.isfinite()), settings
    torch.testing.assert_close(found.softmax(-1), expected.double().softmax(-1), rtol=0, atol=1e-6)


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("scale", [0.5, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kept_sets(scale: float, dtype: torch.dtype) -> None:
    for number, settings in enumerate(GRID):
        assert_same_kept(random_logits(number, scale, dtype), settings)


@pytest.mark.parametrize("settings", [{"top_k": 5}, {"min_p": 0.4}, {"typical_p": 0.5}], ids=str)
def test_kept_sets_where_logits_are_equal(settings: dict[str, Any]) -> None:
    assert_same_kept(random_logits(0, 2.0, torch.float64).round(), settings)


def test_nucleus_has_the_same_size_where_logits_are_equal() -> None:
    """Which of equal pieces stays follows from an unstable sort there; here it is the lowest ids."""
    logits, config = random_logits(0, 2.0, torch.float64).round(), SamplingConfig(top_p=0.613)
    expected = warpers(config)(torch.zeros(ROWS, 0, dtype=torch.long), logits)
    found = filtered(logits, config)
    assert torch.equal(found.isfinite().sum(1), expected.isfinite().sum(1))
    torch.testing.assert_close(found.exp().sum(1), (expected - logits.amax(1, keepdim=True)).exp().sum(1))


@pytest.mark.parametrize("penalty", [0.5, 1.2, 3.0])
def test_repetition_penalty(penalty: float) -> None:
    logits, history = random_logits(1, 2.0, torch.float32), random_history(1, VOCAB)
    expected = theirs.RepetitionPenaltyLogitsProcessor(penalty)(history.ids, logits)
    assert torch.equal(adjust(logits, history, SamplingConfig(repetition_penalty=penalty), eos_id=EOS), expected)
    assert not torch.equal(logits, expected)


@pytest.mark.parametrize("size", [1, 2, 3, 4, LENGTH, LENGTH + 1])
def test_no_repeat_ngram(size: int) -> None:
    logits, history = random_logits(2, 2.0, torch.float32), random_history(2, 3)
    expected = theirs.NoRepeatNGramLogitsProcessor(size)(history.ids, logits)
    assert torch.equal(adjust(logits, history, SamplingConfig(no_repeat_ngram=size), eos_id=EOS), expected)
    assert expected.isinf().any() == (size <= 4)


def test_bad_words() -> None:
    words = [[5], [1, 2], [2, 3], [0, 1, 2], [3, 3, 3], [9] * (LENGTH + 2)]
    logits, history = random_logits(3, 2.0, torch.float32), random_history(3, 4)
    expected = theirs.NoBadWordsLogitsProcessor(words)(history.ids, logits)
    assert torch.equal(adjust(logits, history, SamplingConfig(), eos_id=EOS, bad_words=words), expected)
    assert expected.isinf().sum() > ROWS


@pytest.mark.parametrize("count", [LENGTH // 2, LENGTH // 2 + 1])
def test_minimum_length(count: int) -> None:
    logits, history = random_logits(4, 2.0, torch.float32), random_history(4, VOCAB)
    expected = theirs.MinNewTokensLengthLogitsProcessor(LENGTH // 2, count, EOS)(history.ids, logits)
    assert torch.equal(adjust(logits, history, SamplingConfig(), eos_id=EOS, min_length=count), expected)


def test_all_of_it_in_their_order() -> None:
    config = SamplingConfig(
        temperature=0.8, top_k=20, top_p=0.9, min_p=0.02, typical_p=0.9, repetition_penalty=1.2, no_repeat_ngram=2
    )
    logits, history = random_logits(5, 2.0, torch.float64), random_history(5, 10)
    before = LogitsProcessorList([theirs.RepetitionPenaltyLogitsProcessor(1.2), theirs.NoRepeatNGramLogitsProcessor(2)])
    expected = warpers(config)(history.ids, before(history.ids, logits))
    found = filtered(adjust(logits, history, config, eos_id=EOS), config)
    assert torch.equal(found.isfinite(), expected.isfinite())
    torch.testing.assert_close(found.softmax(-1), expected.softmax(-1))
