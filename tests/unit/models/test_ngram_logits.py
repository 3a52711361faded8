"""What runs of pieces say of a label: a sum over rows of a table, whatever padding is beside the text."""

import math

import pytest
import torch
from torch import Tensor

from clearhead.models.ngram_logits import FACTOR, MODULUS, OF_SEGMENT, NgramLogits
from tests.small import assert_near, padded, random_rows

VOCAB = 11


def learned(longest: int = 3, rows: int = 101) -> NgramLogits:
    torch.manual_seed(0)
    part = NgramLogits(4, longest=longest, rows=rows, dropout=0.3).eval()
    torch.nn.init.normal_(part.table.weight)
    return part


def by_hand(part: NgramLogits, ids: list[int], segments: list[int]) -> Tensor:
    rows = []
    for begin in range(len(ids)):
        for end in range(begin + 1, min(begin + part.longest, len(ids)) + 1):
            key = segments[begin] * OF_SEGMENT
            for piece in ids[begin:end]:
                key = (key * FACTOR + piece + 1) % MODULUS
            rows.append(part.table.weight[key % part.rows])
    return torch.stack(rows).sum(dim=0) / math.sqrt(len(rows))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("longest", [1, 3, 8])
@torch.no_grad()
def test_a_text_is_the_sum_of_its_runs(side: str, longest: int) -> None:
    part, texts = learned(longest), random_rows([6, 1, 4, 2])
    ids, mask = padded(texts, side, 5)
    segments = (torch.arange(ids.shape[1]) % 2).expand_as(ids)
    expected = [by_hand(part, ids[row][real].tolist(), segments[row][real].tolist()) for row, real in enumerate(mask)]
    for given in (ids, ids.masked_fill(~mask, 7)):
        assert_near(part(given, mask=mask, segments=segments), torch.stack(expected))
    whole = ids[:1][mask[:1]][None]
    assert_near(part(whole), by_hand(part, whole[0].tolist(), [0] * 6)[None])


@torch.no_grad()
def test_an_untrained_table_says_nothing_and_a_row_of_padding_too() -> None:
    ids = torch.tensor([[3, 4, 5], [3, 5, 4]])
    assert not NgramLogits(4, longest=3, rows=50)(ids).any()
    assert not learned()(ids, mask=torch.zeros_like(ids).bool()).any()
    says = learned(rows=2**17)(ids)
    assert (says[0] - says[1]).abs().max() > 0.1, "the order counts"
    assert not torch.equal(learned().train()(ids), learned()(ids)), "dropout"
