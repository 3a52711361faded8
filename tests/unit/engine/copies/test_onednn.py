"""The layer in oneDNN's order: float32 to the last bits, and free of the layer that it was made of."""

import pytest
import torch
from torch import nn

from clearhead.engine.copies.onednn import PackedLinear

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")


def test_rounding_is_that_of_float32() -> None:
    layer = nn.Linear(256, 300).requires_grad_(False)
    x = torch.randn(3, 256)
    exact = torch.nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())
    packed = PackedLinear(layer)
    torch.testing.assert_close(packed(x).double(), exact, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(packed.add_to(exact.float(), x).double(), 2 * exact, atol=2e-6, rtol=1e-5)


def test_the_weight_is_a_copy() -> None:
    layer, x = nn.Linear(32, 32).requires_grad_(False), torch.randn(2, 32)
    packed = PackedLinear(layer)
    before = packed(x)
    layer.weight.zero_()
    assert torch.equal(packed(x), before)
    assert list(packed.parameters()) == []
