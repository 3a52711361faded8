"""Norms: against torch on the unpadded rows; padding, running statistics, parameters, order in time."""

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from clearhead.nn.norm import BatchNorm, InstanceNorm, NoNorm, Norm, NormName, build_norm, norms_of
from tests.small import assert_near, shake

NAMES = get_args(NormName)
D = 6


def build(name: NormName, *, causal: bool = False) -> Norm:
    torch.manual_seed(1)
    norm = build_norm(name, D, eps=1e-3, groups=3, causal=causal)
    shake(norm)
    return norm.double()


def instance(x: Tensor, norm: Norm) -> Tensor:
    """The reference on one unpadded row [seq, d_model]; torch refuses a single position."""
    if len(x) == 1:
        return norm.bias.expand_as(x)
    out = functional.instance_norm(x.T[None], weight=norm.weight, bias=norm.bias, eps=norm.eps)
    return out[0].T


def reference(norm: Norm, rows: list[Tensor], name: NormName) -> list[Tensor]:
    """What torch gives for the rows without padding, [seq, d_model] each; batch norm in training."""
    match name:
        case "layer":
            return [functional.layer_norm(x, (D,), norm.weight, norm.bias, norm.eps) for x in rows]
        case "rms":
            return [x / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight for x in rows]
        case "group":
            return [functional.group_norm(x, 3, norm.weight, norm.bias, norm.eps) for x in rows]
        case "instance":
            return [instance(x, norm) for x in rows]
        case "batch":
            x = torch.cat(rows)
            out = functional.batch_norm(x, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
            return list(out.split([len(row) for row in rows]))


def pack(rows: list[Tensor], side: str, garbage: float) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows)) + 1
    x, mask = torch.full((len(rows), width, D), garbage, dtype=torch.float64), torch.zeros(len(rows), width).bool()
    for i, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        x[i, place], mask[i, place] = row, True
    return x, mask


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    side=st.sampled_from(["left", "right"]),
    garbage=st.sampled_from([0.0, 1e4, -3.0]),
)
def test_padding_never_enters_the_statistics(name: NormName, lengths: list[int], side: str, garbage: float) -> None:
    norm = build(name)
    rows = [torch.randn(length, D, dtype=torch.float64) * 3 + 1 for length in lengths]
    x, mask = pack(rows, side, garbage)
    out = norm(x, mask)
    assert out.isfinite().all()
    assert_near(out[mask], torch.cat(reference(norm, rows, name)), 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_no_mask_is_all_real(name: NormName) -> None:
    norm, x = build(name), torch.randn(3, 4, D, dtype=torch.float64)
    assert_near(norm(x), norm(x, torch.ones(3, 4, dtype=torch.bool)), 1e-12)
    assert_near(norm(x).flatten(0, 1), torch.cat(reference(norm, list(x), name)), 1e-9)


@pytest.mark.parametrize("side", ["left", "right"])
def test_causal_instance_norm_is_the_norm_of_each_prefix(side: str) -> None:
    norm = build("instance", causal=True)
    rows = [torch.randn(n, D, dtype=torch.float64) * 2 - 1 for n in (1, 5, 3)]
    x, mask = pack(rows, side, 50.0)
    prefixes = [instance(row[: t + 1], norm)[t] for row in rows for t in range(len(row))]
    assert_near(norm(x, mask)[mask], torch.stack(prefixes), 1e-9)


def test_causal_instance_norm_keeps_its_digits_far_from_zero() -> None:
    norm = build("instance", causal=True)
    x = 1e4 + torch.randn(1, 30, D)
    exact = norm(x.double())
    assert_near(norm.float()(x).double(), exact, 2e-2)  # E[x^2] - E[x]^2 would be off by more than 1


@pytest.mark.parametrize("name", NAMES)
def test_gamma_and_beta_are_parameters_that_scale_and_shift(name: NormName) -> None:
    norm = build_norm(name, D, groups=3)
    assert set(dict(norm.named_parameters())) == ({"weight"} if name == "rms" else {"weight", "bias"})
    assert norm.weight.eq(1).all()
    assert norm.bias is None or norm.bias.eq(0).all()
    x = torch.randn(2, 5, D)
    plain = norm(x)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1, D + 1))
        if norm.bias is not None:
            norm.bias.fill_(2)
    assert_near(norm(x), plain * torch.arange(1, D + 1) + (0 if name == "rms" else 2))
    norm(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().min() > 0 for p in norm.parameters())


def test_batch_norm_is_torchs_over_several_steps_gradients_too() -> None:
    ours, theirs = BatchNorm(D, eps=1e-5), nn.BatchNorm1d(D)
    for step in range(4):
        rows = [torch.randn(n, D) * (step + 1) + step for n in (2, 5)]
        x, mask = pack(rows, "right", 9.0)
        x = x.float().requires_grad_()
        real = torch.cat(rows).requires_grad_()
        out, expected = ours(x, mask)[mask], theirs(real)
        assert_near(out, expected)
        out.pow(3).sum().backward()
        expected.pow(3).sum().backward()
        assert_near(x.grad[mask], real.grad)
        assert not x.grad[~mask].any()
    assert_near(ours.weight.grad, theirs.weight.grad)
    assert_near(ours.running_mean, theirs.running_mean)
    assert_near(ours.running_var, theirs.running_var)
    assert_near(ours.eval()(x, mask)[mask], theirs.eval()(real))


def test_batch_norm_in_evaluation_uses_and_leaves_the_running_statistics() -> None:
    norm = build("batch").eval()
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    x = torch.randn(3, 4, D, dtype=torch.float64)
    expected = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    assert_near(norm(x), expected, 1e-9)
    assert_near(norm(x[1:2]), expected[1:2], 1e-9)  # no batch mates
    assert all(torch.equal(before[name], tensor) for name, tensor in norm.state_dict().items())
    norm.train()(x)
    assert not torch.equal(before["running_mean"], norm.running_mean)
    assert not torch.equal(before["running_var"], norm.running_var)


def test_batch_norm_running_statistics_move_once_a_forward_and_not_backward() -> None:
    norm, x = BatchNorm(D, eps=1e-5, momentum=0.25), torch.randn(2, 3, D)
    out = norm(x)
    mean = norm.running_mean.clone()
    assert_near(mean, 0.25 * x.mean((0, 1)))
    assert_near(norm.running_var, 0.75 + 0.25 * x.flatten(0, 1).var(0))
    out.sum().backward()
    assert torch.equal(norm.running_mean, mean)


@pytest.mark.parametrize("width", [1, 3])
def test_one_real_piece_in_a_batch_becomes_beta_and_moves_no_statistics(width: int) -> None:
    norm = build("batch")
    before = {name: tensor.clone() for name, tensor in norm.named_buffers()}
    x = torch.randn(1, width, D, dtype=torch.float64, requires_grad=True)
    out = norm(x, None if width == 1 else torch.arange(width)[None] == 1)
    assert_near(out[0, width // 2], norm.bias)
    assert_near(out.sum(), norm.bias.sum())
    out.square().sum().backward()
    assert x.grad.isfinite().all()
    assert all(torch.equal(before[name], tensor) for name, tensor in norm.named_buffers())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [True, False])
def test_no_shape_depends_on_what_is_padding(name: NormName, training: bool) -> None:
    with FakeTensorMode():
        norm = build_norm(name, D, groups=3).train(training)
        x, mask = torch.ones(2, 4, D, requires_grad=True), torch.ones(2, 4, dtype=torch.bool)
        norm(x, mask).sum().backward()
        assert x.grad.shape == x.shape


@pytest.mark.parametrize("name", NAMES)
def test_needs_mask_says_the_truth(name: NormName) -> None:
    x, mask = torch.randn(2, 4, D, dtype=torch.float64), torch.tensor([[True] * 4, [True, True, False, False]])
    alike = torch.allclose(build(name).train()(x, mask)[mask], build(name).train()(x)[mask])
    assert alike is not build(name).needs_mask


@pytest.mark.parametrize("name", NAMES)
def test_position_wise_says_the_truth(name: NormName) -> None:
    norm, x = build(name, causal=True).eval(), torch.randn(2, 4, D, dtype=torch.float64)
    apart = torch.cat([norm(x[:, t : t + 1]) for t in range(4)], dim=1)
    assert torch.allclose(norm(x), apart) is norm.position_wise
    assert norm.position_wise is not isinstance(norm, InstanceNorm)


def test_groups_must_divide() -> None:
    with pytest.raises(ValueError, match="norm_groups = 4: must divide d_model = 6"):
        build_norm("group", D, groups=4)


@pytest.mark.parametrize("name", NAMES)
def test_constant_states_stay_finite(name: NormName) -> None:
    x = torch.full((2, 3, D), 5.0, requires_grad=True)
    out = build_norm(name, D, groups=3)(x)
    out.square().sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()


def test_norms_of_finds_every_norm_and_no_stand_in() -> None:
    model = nn.Sequential(build("layer"), nn.ModuleList([build("batch"), NoNorm()]), nn.Linear(2, 2))
    assert [type(norm).__name__ for norm in norms_of(model)] == ["LayerNorm", "BatchNorm"]
    x = torch.randn(1, 2, D)
    assert NoNorm()(x) is x


def test_padding_does_not_grow_through_instance_norms_beside_a_single_piece() -> None:
    norm, x = build_norm("instance", D, eps=1e-12), torch.randn(1, 3, D, requires_grad=True)
    mask, out = torch.tensor([[False, True, False]]), x
    for _ in range(9):
        out = norm(out, mask)
    assert not out.any()
    out.sum().backward()
    assert not x.grad.any()
