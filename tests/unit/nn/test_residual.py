"""Residual: the sum, the switch that leaves x out, dropout and stochastic depth on the branch alone."""

import pytest
import torch

from clearhead.nn.residual import Residual

X, BRANCH = torch.full((400, 3, 5), 7.0), torch.ones(400, 3, 5)


def test_sum_and_switch() -> None:
    x, branch = torch.randn(2, 2, 3, 5)
    assert torch.equal(Residual()(x, branch), x + branch)
    assert torch.equal(Residual(skip=False)(x, branch), branch)


def test_dropout_spares_x() -> None:
    out = Residual(dropout=0.5)(X, BRANCH)
    assert set(out.unique().tolist()) == {7.0, 9.0}
    assert abs(float(out.mean()) - 8) < 0.1


def test_stochastic_depth_drops_whole_sequences() -> None:
    torch.manual_seed(0)
    residual = Residual(drop_path=0.75)
    out = residual(X, BRANCH) - X
    assert set(out.unique().tolist()) == {0.0, 4.0}  # kept ones scaled by 1 / (1 - 0.75)
    assert torch.equal(out, out[:, :1, :1].expand_as(out))
    kept = float((out[:, 0, 0] != 0).float().mean())
    assert abs(kept - 0.25) < 0.1
    torch.manual_seed(0)
    assert torch.equal(residual(X, BRANCH) - X, out)


def test_evaluation_drops_nothing() -> None:
    assert torch.equal(Residual(dropout=0.5, drop_path=0.5).eval()(X, BRANCH), X + BRANCH)


@pytest.mark.parametrize("rate", [-0.5, 1.0])
def test_a_wrong_rate_is_named(rate: float) -> None:
    with pytest.raises(ValueError, match=rf"drop_path = {rate}: must be at least 0 and below 1"):
        Residual(drop_path=rate)
    with pytest.raises(ValueError, match=rf"dropout p = {rate}"):
        Residual(dropout=rate)
