"""Speculative sampling: what stands is distributed as the target model's own pieces, whatever the draft says."""

import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor

from clearhead.decode.sampling import SamplingConfig, draw, filtered, uniform_of
from clearhead.decode.speculative import accept
from clearhead.errors import ModelError

VOCAB, DRAFTED, LENGTH = 3, 2, 3


def rows(*probs: list[float]) -> Tensor:
    return torch.tensor(probs, dtype=torch.float64).view(len(probs), -1)


def models(closeness: float) -> tuple[Tensor, Tensor]:
    """Returns draft and target as tables: probabilities of the next piece by the last one."""
    chance = torch.Generator().manual_seed(1)
    target, other = torch.rand(2, VOCAB, VOCAB, generator=chance, dtype=torch.float64) * 2
    return (closeness * target + (1 - closeness) * other).softmax(-1), target.softmax(-1)


def number(sample: int, position: int, stream: int) -> Tensor:
    return torch.tensor([uniform_of(3, sample, position, stream=stream)], dtype=torch.float64)


def generate(draft: Tensor, target: Tensor, sample: int) -> tuple[int, ...]:
    """Returns the first pieces of a text after piece 0, numbers taken as ``accept`` says."""
    text = [0]
    while len(text) <= LENGTH:
        start, ids = len(text), text[-1:]
        for i in range(DRAFTED):
            ids.append(int(draw(draft[ids[-1]][None], number(sample, start + i, 0))))
        numbers = [number(sample, start + i, 1) for i in range(DRAFTED)] + [number(sample, start, 2)]
        text += accept(draft[ids[:-1]], target[ids], torch.tensor(ids[1:]), torch.cat(numbers))
    return tuple(text[1 : LENGTH + 1])


@pytest.mark.long
@pytest.mark.parametrize(
    ("closeness", "count"),
    [(0.0, 800), *(pytest.param(share, 3000, marks=pytest.mark.long) for share in (0.0, 0.7, 1.0))],
)
def test_texts_are_distributed_as_the_target_alone_writes_them(closeness: float, count: int) -> None:
    draft, target = models(closeness)
    observed = Counter(generate(draft, target, sample) for sample in range(count))
    statistic = 0.0
    for text in itertools.product(range(VOCAB), repeat=LENGTH):
        steps = zip((0, *text), text, strict=False)
        expected = count * float(torch.stack([target[last, piece] for last, piece in steps]).prod())
        assert expected > 5, "chi-square wants this many in every cell"
        statistic += (observed[text] - expected) ** 2 / expected
    assert statistic < 61.6, "chi-square, 26 degrees of freedom, p = 1e-4"


def test_each_piece_is_weighed_against_its_number() -> None:
    draft, target = rows([0.5, 0.5], [0.5, 0.5]), rows([0.25, 0.75], [0.25, 0.75], [1.0, 0.0])

    def found(*numbers: float) -> list[int]:
        return accept(draft, target, torch.tensor([0, 0]), torch.tensor(numbers, dtype=torch.float64))

    assert found(0.49, 0.49, 0.0) == [0, 0, 0], "p / q is a half; the last row gives one more"
    assert found(0.49, 0.51, 0.0) == [0, 1], "what is rejected comes from the residual, where only 1 is left"
    assert found(0.5, 0.0, 0.0) == [1]


def test_without_a_draft_the_target_draws() -> None:
    none = torch.zeros(0, 2, dtype=torch.float64)
    for value, piece in [(0.29, 0), (0.31, 1)]:
        numbers = torch.tensor([value], dtype=torch.float64)
        assert accept(none, rows([0.3, 0.7]), torch.zeros(0, dtype=torch.long), numbers) == [piece]


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("draft_temperature", [0.0, 1.0])
def test_greedy_output_is_the_targets_own(draft_temperature: float) -> None:
    chance = torch.Generator().manual_seed(2)
    for sample in range(200):
        logits = torch.randint(4, (2 * DRAFTED + 1, 6), generator=chance).double()  # with ties
        draft = filtered(logits[:DRAFTED], SamplingConfig(temperature=draft_temperature)).softmax(-1)
        target = filtered(logits[DRAFTED:], SamplingConfig(temperature=0.0)).softmax(-1)
        ids = draw(draft, torch.cat([number(sample, i, 0) for i in range(DRAFTED)]))
        numbers = torch.cat([number(sample, i, 1) for i in range(DRAFTED + 1)])
        best, found = target.argmax(-1).tolist(), accept(draft, target, ids, numbers)
        right = next((i for i in range(DRAFTED) if ids[i] != best[i]), DRAFTED)
        assert found == best[: right + 1]


def test_equal_models_accept_everything() -> None:
    probs = models(1.0)[1]
    numbers = torch.full((3,), 1 - 2**-53, dtype=torch.float64)
    assert accept(probs[:2], probs, torch.tensor([1, 2]), numbers)[:2] == [1, 2]


def test_a_residual_lost_to_rounding_falls_back_to_the_target() -> None:
    draft, target = rows([0.5, 0.5]), rows([0.5 - 1e-16, 0.5], [1.0, 0.0])
    numbers = torch.tensor([1 - 1e-16, 0.9], dtype=torch.float64)
    assert accept(draft, target, torch.tensor([0]), numbers) == [1]


def test_probabilities_that_are_no_numbers_are_refused() -> None:
    bad = rows([float("nan"), 1.0], [0.5, 0.5])
    with pytest.raises(ModelError, match="sum to nan"):
        accept(rows([0.5, 0.5]), bad, torch.tensor([0]), torch.zeros(2, dtype=torch.float64))
