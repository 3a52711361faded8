"""Softmax and its Jacobian: by formula, by autograd, by moving a score; masks, many keys, wrong scores."""

import math

import pytest
import torch
from torch import nn

from clearhead.errors import UsageError
from clearhead.inspect.attend.slopes import MOST, derivatives, jacobian, softmax_slopes

SCORES = [1.0, -0.5, 2.0, -math.inf]


def test_the_jacobian_is_how_weights_move() -> None:
    view = jacobian(SCORES, names=list("abcd"), where="of a test")
    step = 1e-6
    for column in range(3):
        moved = list(SCORES)
        moved[column] += step
        after, before = (torch.tensor(row, dtype=torch.float64).softmax(0) for row in (moved, SCORES))
        change = (after - before) / step
        assert [row[column] for row in view.jacobian] == pytest.approx(change.tolist(), abs=1e-5)
    assert all(abs(sum(row)) < 1e-15 for row in view.jacobian)
    assert max(view.formula, view.rest) < 1e-15
    assert view.weights[3] == 0.0
    assert view.jacobian[3] == [0.0] * 4
    assert view.title == "softmax of 4 scores: of a test"
    lines = view.lines(80)
    assert f"entropy {view.entropy:.3f} nats, of {math.log(3):.3f} for an even spread" in lines
    assert max(map(len, lines)) <= 80


def test_a_formula_that_is_another_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearhead.inspect.attend.slopes.softmax_slopes", torch.diag)
    assert jacobian(SCORES).formula > 0.1


def test_of_many_keys_those_with_the_largest_weights_are_shown() -> None:
    scores = torch.arange(float(MOST + 10)).flip(0)
    view = jacobian(scores)
    assert view.kept == list(range(MOST))
    assert len(view.jacobian) == len(view.jacobian[0]) == MOST
    assert view.rest < 1e-15
    assert f"below are the {MOST} of {MOST + 10} keys with the largest weights" in view.lines(80)


def test_jacobians_of_any_function_of_a_row() -> None:
    x = torch.tensor([[1.0, -2.0]])
    assert torch.equal(derivatives(nn.ReLU(), x), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    with torch.inference_mode():
        assert torch.equal(derivatives(lambda x: 3 * x, torch.ones(2)), 3 * torch.eye(2))
    p = torch.tensor([0.25, 0.75])
    assert torch.allclose(softmax_slopes(p), derivatives(lambda x: x.softmax(0), p.log()))


@pytest.mark.parametrize("scores", [[], [-math.inf], [math.nan, 1.0], [math.inf, 1.0], torch.ones(2, 2)])
def test_what_is_no_row_of_scores(scores: object) -> None:
    with pytest.raises(UsageError, match="scores: must be a row of numbers"):
        jacobian(scores)  # type: ignore[arg-type]
