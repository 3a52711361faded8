"""Positions: tables, rotation and ALiBi against their papers' formulas."""

import math
from typing import get_args

import pytest
import torch

from clearhead.nn.position import (
    Alibi,
    LearnedPosition,
    PositionName,
    Rotary,
    SinusoidalPosition,
    build_position,
    build_rotary,
    build_score_bias,
    sinusoidal_table,
)


def test_sinusoidal_formula() -> None:
    table = sinusoidal_table(50, 6)
    for pos in (0, 1, 7, 49):
        for i in range(3):
            angle = pos / 10000 ** (2 * i / 6)
            assert math.isclose(table[pos, 2 * i], math.sin(angle), abs_tol=1e-6)
            assert math.isclose(table[pos, 2 * i + 1], math.cos(angle), abs_tol=1e-6)


def test_sinusoidal_is_exact_far_out() -> None:
    # angles summed in float32 would be wrong by 1e-3 here
    assert math.isclose(sinusoidal_table(100_001, 4)[100_000, 0], math.sin(100_000), abs_tol=1e-7)
    rotary = Rotary(4, 100_001)
    assert math.isclose(rotary.sin[100_000, 2], math.sin(100_000), abs_tol=1e-7)
    assert math.isclose(rotary.cos[100_000, 1], math.cos(1000), abs_tol=1e-7)


def test_tables_are_looked_up_and_only_the_learned_one_is_saved() -> None:
    positions = torch.tensor([[0, 2], [3, 3]])
    fixed, learned = SinusoidalPosition(5, 4), LearnedPosition(5, 4)
    assert torch.equal(fixed(positions), sinusoidal_table(5, 4)[positions])
    assert torch.equal(learned(positions), learned.weight[positions])
    assert (list(fixed.state_dict()), list(fixed.parameters())) == ([], [])
    assert list(learned.state_dict()) == ["weight"]


def test_a_position_acts_in_its_place_and_in_no_other() -> None:
    places = {
        name: [type(part).__name__ for part in parts if part is not None]
        for name in get_args(PositionName)
        if (parts := (build_position(name, 5, 4), build_rotary(name, 4, 5), build_score_bias(name, 2)))
    }
    assert places == {
        "sinusoidal": ["SinusoidalPosition"],
        "learned": ["LearnedPosition"],
        "rotary": ["Rotary"],
        "alibi": ["Alibi"],
        "none": [],
    }


def test_what_is_built_has_its_sizes() -> None:
    rotary, bias = build_rotary("rotary", 4, 5, theta=50.0), build_score_bias("alibi", 2)
    assert rotary is not None
    assert bias is not None
    torch.testing.assert_close(rotary.cos, Rotary(4, 5, theta=50.0).cos)
    torch.testing.assert_close(bias.slopes, Alibi(2).slopes)


def test_rotary_is_complex_multiplication() -> None:
    rotary, x = Rotary(6, 20), torch.randn(2, 3, 4, 6)
    pairs = torch.complex(x[..., :3].double(), x[..., 3:].double())
    angles = torch.arange(5, 9)[:, None] * 10000.0 ** (-torch.arange(3) / 3)
    turned = pairs * torch.exp(1j * angles)
    torch.testing.assert_close(rotary(x, 5).double(), torch.cat([turned.real, turned.imag], -1), rtol=0, atol=1e-5)
    assert list(rotary.state_dict()) == []


def test_rotary_at_positions_of_each_row() -> None:
    rotary, x = Rotary(6, 20, theta=50.0), torch.randn(2, 3, 4, 6)
    places = torch.tensor([[5, 6, 7, 8], [0, 0, 19, 2]])
    turned = rotary(x, positions=places)
    torch.testing.assert_close(turned[:1], rotary(x[:1], 5))
    for at, place in enumerate([0, 0, 19, 2]):
        torch.testing.assert_close(turned[1:, :, at : at + 1], rotary(x[1:, :, at : at + 1], place))


def test_rotary_rates_have_the_base_of_their_name() -> None:
    angle = 7 * 50.0 ** (-2 / 6)  # of the second pair
    rotary = Rotary(6, 8, theta=50.0)
    assert math.isclose(rotary.cos[7, 1], math.cos(angle), abs_tol=1e-6)
    assert math.isclose(rotary.sin[7, 4], math.sin(angle), abs_tol=1e-6)


@pytest.mark.parametrize("distance", [0, 1, 9])
def test_rotary_scores_depend_on_distance_alone(distance: int) -> None:
    rotary, (q, k) = Rotary(8, 100), torch.randn(2, 1, 1, 1, 8)
    scores = [(rotary(q, at + distance) * rotary(k, at)).sum() for at in (0, 3, 50, 90)]
    torch.testing.assert_close(torch.stack(scores), scores[0].expand(4), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("n_heads", "exponents"),
    [(1, [8]), (2, [4, 8]), (8, range(1, 9)), (6, [2, 4, 6, 8, 1, 3]), (12, [*range(1, 9), 0.5, 1.5, 2.5, 3.5])],
)
def test_alibi_slopes(n_heads: int, exponents: list[float]) -> None:
    torch.testing.assert_close(Alibi(n_heads).slopes, torch.tensor([2.0**-e for e in exponents]))


def test_alibi_bias_is_slope_times_distance_and_its_last_rows_are_those_of_a_step() -> None:
    alibi = Alibi(4)
    full = alibi(5, 5)
    for q in range(5):
        for k in range(5):
            slopes = alibi.slopes if k <= q else alibi.slopes.flip(0)
            torch.testing.assert_close(full[:, q, k], -slopes * abs(q - k))
    assert torch.equal(alibi(2, 5), full[:, 3:])
    assert list(alibi.state_dict()) == []


def test_odd_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="d_model = 5: sinusoidal positions need an even number"):
        sinusoidal_table(3, 5)
    with pytest.raises(ValueError, match="head_dim = 3: rotary positions need an even number"):
        Rotary(3, 10)
