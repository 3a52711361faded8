"""Dropout: its rate and scale, the same mask forward and backward, and torch's generator."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.nn.dropout import Dropout


@pytest.mark.parametrize("p", [0.01, 0.1, 0.3, 0.5, 0.9])
def test_rate_and_scale(p: float) -> None:
    torch.manual_seed(0)
    n = 200_000
    out = Dropout(p)(torch.ones(n))
    kept = out != 0
    assert abs(float(kept.float().mean()) - (1 - p)) < 5 * (p * (1 - p) / n) ** 0.5
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 1 / (1 - p)))


@pytest.mark.parametrize("p", [0.999999, 1 - 2**-40])
def test_a_rate_near_one_drops(p: float) -> None:
    assert float((Dropout(p)(torch.ones(1000)) != 0).float().mean()) < 0.05


def test_neighbours_are_independent() -> None:
    # four masks come from one random word: their bits must not be shared
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(80_000)) != 0).float().view(-1, 4)
    assert (torch.corrcoef(kept.T) - torch.eye(4)).abs().max() < 0.03
    assert abs(float(torch.corrcoef(torch.stack([kept[1:, 0], kept[:-1, 3]]))[0, 1])) < 0.03


@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(0, 5), max_size=4), p=st.floats(0.05, 0.95), double=st.booleans())
def test_the_gradient_meets_the_same_mask(shape: list[int], p: float, double: bool) -> None:
    dtype = torch.float64 if double else torch.float32
    x = torch.rand(shape, dtype=dtype) + 1
    x.requires_grad_()
    out = Dropout(p)(x)
    out.backward(torch.full_like(out, 3))
    assert out.dtype == dtype
    assert out.shape == x.shape
    torch.testing.assert_close(x.grad, 3 * out.detach() / x.detach())


def test_transposed_input_keeps_its_places() -> None:
    x = torch.arange(1.0, 13).view(3, 4).T
    out = Dropout(0.5)(x)
    kept = out != 0
    torch.testing.assert_close(out[kept], 2 * x[kept])


def test_the_mask_follows_from_the_seed() -> None:
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return Dropout(0.5)(torch.ones(100))

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


def test_without_dropping_it_is_the_identity_and_draws_nothing() -> None:
    x, before = torch.randn(5), torch.get_rng_state()
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0, float("nan")])
def test_a_wrong_rate_is_named(p: float) -> None:
    with pytest.raises(ValueError, match=rf"dropout p = {p}: must be at least 0 and below 1"):
        Dropout(p)
