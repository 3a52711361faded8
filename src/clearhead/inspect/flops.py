"""What PyTorch's FLOP counter leaves out: the attention kernel of CPUs."""

from collections.abc import Callable, Sequence
from typing import Any

import torch


def attention_flops(q: Sequence[int], k: Sequence[int], v: Sequence[int], *rest: Any, **named: Any) -> int:
    """Returns the FLOPs of attention from shapes [batch, heads, seq, head_dim].

    Two products, as PyTorch counts those of its GPU kernels: a causal mask is not taken off.
    """
    batch, heads, queries, features = q
    return 2 * batch * heads * queries * k[2] * (features + v[3])


CPU_ATTENTION: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops
}
