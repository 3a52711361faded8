"""Two runtimes side by side: the largest difference and its row, divergence, what is no number, what is the same."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from clearhead.export.compare import LEAST, Same, compare_outputs
from clearhead.export.ours import Ours
from clearhead.export.runtime import Outputs, Row, Runtime
from tests.small import random_rows, small_gpt

ROWS = [Row(ids) for ids in random_rows([5, 2, 8])]
OURS = Ours(small_gpt(), ends=[2], never=[])


class Off(Runtime):
    """Ours, with something added to the outputs of the row of two pieces."""

    gives: Outputs = "logits"

    def __init__(self, added: float | Tensor) -> None:
        self.added = added

    def outputs(self, rows: Sequence[Row]) -> list[Tensor]:
        return [
            out + (self.added if len(row.ids) == 2 else 0) for row, out in zip(rows, OURS.outputs(rows), strict=True)
        ]


def test_the_row_that_differs_most_is_named() -> None:
    same, _, _ = compare_outputs(OURS, Off(0.0), ROWS)
    assert (same.max_abs, same.mean_kl, same.positions, same.equal) == (0.0, 0.0, 15, True)
    assert same.bound == pytest.approx(1e-5 * max(LEAST, same.largest))
    off, _, _ = compare_outputs(OURS, Off(0.25), ROWS)
    assert (off.worst, off.equal) == (1, False)
    assert off.max_abs == pytest.approx(0.25, abs=1e-4)
    assert off.mean_kl == pytest.approx(0.0, abs=1e-6), "a constant changes no distribution"
    skewed, _, _ = compare_outputs(OURS, Off(torch.arange(13.0)), ROWS)
    assert skewed.mean_kl is not None
    assert skewed.mean_kl > 0.01
    assert not compare_outputs(OURS, Off(math.nan), ROWS)[0].equal


def test_the_judge_sees_the_logits_of_both() -> None:
    _, before, after = compare_outputs(OURS, Off(1.0), ROWS, lambda number, logits: (number, float(logits.sum())))
    assert [number for number, _ in before] == [0, 1, 2]
    assert [b[1] == a[1] for b, a in zip(before, after, strict=True)] == [True, False, True]


def test_a_model_of_another_width_is_none_to_compare() -> None:
    class Narrow(Off):
        def outputs(self, rows: Sequence[Row]) -> list[Tensor]:
            return [out[:, :4] for out in super().outputs(rows)]

    with pytest.raises(ValueError, match=r"outputs of shape \[2, 4\], ours \[2, 13\]"):
        compare_outputs(OURS, Narrow(0.0), ROWS)


def test_what_is_the_same_is_counted() -> None:
    assert Same.count([1, 2, 3], [1, 5, 3]) == Same(2, 3, 1)
    assert Same.count(["a"], ["a"]).all
