"""Fast linear layers of every kind compute what ``nn.Linear`` computes, several of them as one product."""

import pytest
import torch
from torch import Tensor, nn

from clearhead.engine.choose import KINDS
from clearhead.engine.copies.linear import FastLinear, Then, joined

LAYERS = pytest.mark.parametrize(("linear", "tolerance"), KINDS.values(), ids=KINDS)


def layers(*outputs: int, bias: bool = True) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(32, count, bias=bias).requires_grad_(False) for count in outputs]


def inputs(rows: int) -> Tensor:
    return torch.randn(rows, 32, generator=torch.Generator().manual_seed(1)).clamp(-2, 2)


@LAYERS
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("then", ["none", "relu"])
@pytest.mark.parametrize("rows", [1, 16, 40])  # below, at and above the rows that the layout is made for
def test_several_layers_are_one_product(
    rows: int, then: Then, bias: bool, linear: type[FastLinear], tolerance: float
) -> None:
    parts, x = layers(24, 7, 1, bias=bias), inputs(rows)
    expected = torch.cat([part(x) for part in parts], dim=1)
    result = linear(*parts, then=then)(x)
    torch.testing.assert_close(result, expected.relu() if then == "relu" else expected, atol=tolerance, rtol=0)
    assert result.any()


@LAYERS
def test_batches_of_any_shape(linear: type[FastLinear], tolerance: float) -> None:
    (part,), x = layers(24), inputs(30)
    fast = linear(part)
    assert torch.equal(fast(x.view(5, 2, 3, 32)), fast(x).view(5, 2, 3, 24))


@LAYERS
def test_the_sum_with_a_residual(linear: type[FastLinear], tolerance: float) -> None:
    (part,), x = layers(32), inputs(5)
    residual = x.flip(0) * 3
    before = residual.clone()
    torch.testing.assert_close(linear(part).add_to(residual, x), residual + part(x), atol=tolerance, rtol=0)
    assert torch.equal(residual, before), "which the next sublayer still reads"


def test_joined_weights_share_the_memory_of_a_single_layer() -> None:
    one, two = layers(3, 4)
    weight, bias = joined([one, two])
    assert torch.equal(weight, torch.cat([one.weight, two.weight]))
    assert bias is not None
    assert torch.equal(bias, torch.cat([one.bias, two.bias]))
    assert joined([one])[0].data_ptr() == one.weight.data_ptr()
    assert joined(layers(3, bias=False))[1] is None
