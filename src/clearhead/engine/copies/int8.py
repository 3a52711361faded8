"""Linear layers with weights of 8 bits, by the kernels of FBGEMM, which PyTorch has for x86 processors."""

import threading
import warnings

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clearhead.engine.copies.linear import FastLinear, Then, joined

BACKENDS = ("x86", "fbgemm")  # settings of torch.backends.quantized.engine under which FBGEMM packs a linear layer

_rounding = threading.Lock()


class Int8Linear(FastLinear):
    """A ``FastLinear`` with its weight in 8 bits, a scale for each output: a quarter of the bytes to read.

    Inputs are rounded to 8 bits too, with one scale for all rows of a call, so that a row depends a little on its batch
    mates. Without the instructions for 8-bit products (VNNI) they keep 7 bits, since sums of 16 bits would overflow.

    Raises:
        RuntimeError: PyTorch packs for another backend than FBGEMM. Its setting holds for the whole process, and other
            threads may be packing: it is read, never changed.
    """

    def __init__(self, *parts: nn.Linear, then: Then = "none") -> None:
        super().__init__()
        if (backend := torch.backends.quantized.engine) not in BACKENDS:
            raise RuntimeError(f"torch.backends.quantized.engine = {backend!r}: must be x86 or fbgemm")
        weight, bias = joined(parts)
        self.weight = torch.ops.quantized.linear_prepack(_rounded(weight), bias)
        self.then, self.seven_bits = then, not torch.cpu.get_capabilities().get("avx512_vnni", False)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """See ``FastLinear``."""
        if self.then == "relu":
            return torch.ops.quantized.linear_relu_dynamic(x, self.weight, self.seven_bits)
        return torch.ops.quantized.linear_dynamic(x, self.weight, self.seven_bits)

    def add_to(self, residual: Float[Tensor, "rows outputs"], x: Float[Tensor, "rows inputs"]) -> Tensor:
        """See ``FastLinear``."""
        return residual + self.forward(x)


def _rounded(weight: Float[Tensor, "outputs inputs"]) -> Tensor:
    """Rounds each row to 255 steps between its largest magnitude and the negative of it."""
    scales = weight.abs().amax(dim=1).clamp(min=1e-12).double() / 127
    zeros = torch.zeros(len(weight), dtype=torch.long)
    # the list of filters belongs to the whole process: threads that change it at once would undo each other's changes
    with _rounding, warnings.catch_warnings():
        # PyTorch is to drop these tensors; its kernels have no other way in yet
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        return torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
