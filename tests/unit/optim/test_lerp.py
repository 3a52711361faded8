"""The same bits with and without the call for many tensors at once."""

import pytest
import torch

from clearhead.optim.lerp import lerp_


@pytest.mark.parametrize("weight", [0.0, 0.05, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_by_one_gives_the_same_bits(dtype: torch.dtype, weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [torch.randn(shape, dtype=dtype) for shape in ((7,), (5, 3), (), (130,))]
    others = [torch.randn_like(tensor) for tensor in tensors]
    results = []
    for there in (True, False):
        if not there:
            monkeypatch.delattr(torch, "_foreach_lerp_")
        results.append([tensor.clone() for tensor in tensors])
        lerp_(results[-1], others, weight)
    for together, alone, tensor, other in zip(*results, tensors, others, strict=True):
        assert torch.equal(together, alone)
        expected = tensor.double() + weight * (other.double() - tensor.double())
        torch.testing.assert_close(alone, expected.to(dtype))
