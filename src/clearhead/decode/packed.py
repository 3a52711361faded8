"""A copy of a model for decoding on a CPU: weights laid out once for oneDNN, projections of one input done as one.

A linear layer on few rows spends most of its time bringing the weight into the order that its kernel wants, and does so
anew at every call. Here that is done once. The copy computes the same function (up to rounding) and cannot be trained;
the original stays as it is, for training and for looking inside.
"""

import copy
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clearhead.models.transformer import Transformer
from clearhead.nn.attention import SelfAttention
from clearhead.nn.cache import LayerCache
from clearhead.nn.layer import DecoderLayer
from clearhead.nn.mask import AttendMask
from clearhead.nn.mlp import MLP

ROWS = 16  # usual number of input rows while decoding: a hint for the layout


def can_pack(model: nn.Module) -> bool:
    """Whether this machine and model have the kernels: float32 on a CPU with oneDNN."""
    weight = next(model.parameters())
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available()


def pack(model: Transformer) -> Transformer:
    """Returns a copy of ``model`` for decoding on the CPU."""
    packed = copy.deepcopy(model).eval().requires_grad_(False)
    for layer in packed.decoder.layers:
        decoder_layer = cast(DecoderLayer, layer)
        decoder_layer.attn = cast(SelfAttention, PackedSelfAttention(decoder_layer.attn))
        if isinstance(decoder_layer.mlp, MLP) and isinstance(decoder_layer.mlp.activation, nn.ReLU):
            decoder_layer.mlp.up_proj = cast(nn.Linear, PackedLinear(decoder_layer.mlp.up_proj, then="relu"))
            decoder_layer.mlp.activation = nn.Identity()
    for module in list(packed.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, PackedLinear(child))
    return packed


class PackedLinear(nn.Module):
    """``nn.Linear`` with its weight in oneDNN's order; ``then`` (none or relu) is done in the same pass."""

    def __init__(self, linear: nn.Linear, *, then: str = "none") -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.then = then

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Returns ``then(x @ weight.T + bias)``."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self.then, [], "")


class PackedSelfAttention(nn.Module):
    """``SelfAttention`` with queries, keys and values from one product."""

    def __init__(self, attn: SelfAttention) -> None:
        super().__init__()
        parts = (attn.q_proj, attn.k_proj, attn.v_proj)
        joint = nn.Linear(attn.q_proj.in_features, sum(part.out_features for part in parts), bias=False)
        joint.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
        if attn.q_proj.bias is not None:
            joint.bias = nn.Parameter(torch.cat([part.bias for part in parts]), requires_grad=False)
        self.qkv_proj, self.o_proj = PackedLinear(joint), PackedLinear(attn.o_proj)
        self.heads = (attn.n_heads, attn.n_kv_heads, attn.n_kv_heads)
        self.head_dim, self.core, self.rotary = attn.head_dim, attn.core, attn.rotary

    def forward(
        self,
        x: Float[Tensor, "rows queries d_model"],
        *,
        mask: AttendMask | None = None,
        causal: bool = False,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "rows queries d_model"]:
        """See ``SelfAttention.forward``."""
        rows, queries, _ = x.shape
        joint = self.qkv_proj(x).view(rows, queries, sum(self.heads), self.head_dim).transpose(1, 2)
        q, k, v = joint.split(self.heads, dim=1)
        if self.rotary is not None:
            start = 0 if cache is None else cache.length
            q, k = self.rotary(q, start), self.rotary(k, start)
        if cache is not None:
            k, v = cache.append(k, v)
        mixed = self.core(q, k, v, mask=mask, causal=causal)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))
