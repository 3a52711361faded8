"""FLOPs of attention on a CPU equal those of the two products that it fuses."""

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from clearhead.inspect.flops import CPU_ATTENTION


def test_fused_and_explicit_attention_count_alike() -> None:
    q, k, v = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 7, 8), torch.randn(2, 4, 7, 8)
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as fused, torch.no_grad():
        functional.scaled_dot_product_attention(q, k, v)
    with FlopCounterMode(display=False) as explicit, torch.no_grad():
        (q @ k.transpose(-2, -1)).softmax(-1) @ v
    assert fused.get_total_flops() == explicit.get_total_flops() == 2 * 2 * 4 * 5 * 7 * 16
