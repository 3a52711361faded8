"""A copy of a model for decoding on a CPU: linear layers with weights prepared once, and a plain step for one position.

Projections of the same input become one product. What is left at small batches is the cost of the calls themselves:
``OneStep`` makes as few as it can. The copy computes the same function (up to rounding) and cannot be trained; the
original stays as it is, for training and for looking inside.
"""

import copy
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clearhead.engine.copies.linear import FastLinear
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Decoder, Transformer
from clearhead.nn.attention import SelfAttention, unit_rms
from clearhead.nn.cache import KeysValues, KVCache, LayerCache
from clearhead.nn.layer import CausalLayer, DecoderLayer
from clearhead.nn.mask import AttendMask, MemoryMask, additive_mask
from clearhead.nn.mlp import MLP, GatedMLP
from clearhead.nn.norm import LayerNorm, NoNorm, RMSNorm
from clearhead.nn.residual import Residual

States = Float[Tensor, "rows d_model"]
Bias = Float[Tensor, "#rows #heads 1 keys"] | None
Positions = Int[Tensor, "rows queries"] | None
Real = Bool[Tensor, "rows seq"] | None
M = TypeVar("M", bound=Transformer | GPT)
MemoryBias = Float[Tensor, "sentences 1 1 memory"] | None


def pack(model: M, linear: type[FastLinear]) -> M:
    """Returns a copy of ``model`` whose linear layers are of the class ``linear``, for decoding on the CPU."""
    packed = copy.deepcopy(model).eval().requires_grad_(False)
    for layer in packed.modules():
        if isinstance(layer, CausalLayer | DecoderLayer):
            layer.attn = cast(SelfAttention, PackedSelfAttention(layer.attn, linear))
            layer.mlp = None if layer.mlp is None else cast(MLP, PackedMLP(layer.mlp, linear))
    for module in list(packed.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, linear(child))
    if isinstance(packed, Transformer):
        packed.decoder = PackedDecoder(packed.decoder)
        return cast(M, packed)
    return cast(M, PackedGPT(packed))


class PackedSelfAttention(nn.Module):
    """``SelfAttention`` with queries, keys and values from one product."""

    def __init__(self, attn: SelfAttention, linear: type[FastLinear]) -> None:
        super().__init__()
        self.qkv_proj, self.o_proj = linear(attn.q_proj, attn.k_proj, attn.v_proj), linear(attn.o_proj)
        self.heads = (attn.n_heads, attn.n_kv_heads, attn.n_kv_heads)
        self.head_dim, self.core, self.rotary, self.qk_norm = attn.head_dim, attn.core, attn.rotary, attn.qk_norm

    def forward(
        self,
        x: Float[Tensor, "rows queries d_model"],
        *,
        mask: AttendMask | None = None,
        causal: bool = False,
        cache: LayerCache | None = None,
        positions: Positions = None,
    ) -> Float[Tensor, "rows queries d_model"]:
        """See ``SelfAttention.forward``."""
        rows, queries, _ = x.shape
        joint = self.qkv_proj(x).view(rows, queries, sum(self.heads), self.head_dim).transpose(1, 2)
        q, k, v = joint.split(self.heads, dim=1)
        if self.qk_norm:
            q, k = unit_rms(q), unit_rms(k)
        if self.rotary is not None:
            start = 0 if cache is None else cache.length
            q, k = (self.rotary(part, start, positions) for part in (q, k))
        if cache is not None:
            k, v = cache.append(k, v)
        mixed = self.core(q, k, v, mask=mask, causal=causal)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    def step(self, x: States, at: int, kept: Tensor, bias: Bias, positions: Positions = None) -> States:
        """Attends from one new position, up to ``o_proj``; writes its keys and values to ``kept``.

        Args:
            x: [rows, d_model].
            at: the new position in the cache.
            kept: this layer's keys and values, [2, rows, kv_heads, capacity, head_dim].
            bias: added to the scores, or None.
            positions: [rows, 1], for rotary; None is ``at``.
        """
        n_heads, kv_heads, _ = self.heads
        joint = self.qkv_proj.forward(x).view(len(x), -1, self.head_dim)  # rows heads head_dim
        if self.qk_norm or self.rotary is not None:
            turned, values = joint[:, : n_heads + kv_heads, None], joint[:, n_heads + kv_heads :]
            turned = unit_rms(turned) if self.qk_norm else turned
            turned = turned if self.rotary is None else self.rotary.forward(turned, at, positions)
            joint = torch.cat([turned[:, :, 0], values], dim=1)
        new = joint[:, n_heads:].view(len(x), 2, kv_heads, self.head_dim)
        kept[:, :, :, at].copy_(new.transpose(0, 1))
        keys, values = kept[:, :, :, : at + 1].unbind()
        return self.core.forward(joint[:, :n_heads, None], keys, values, mask=bias).flatten(1)


class PackedMLP(nn.Module):
    """``MLP`` or ``GatedMLP`` in evaluation: gate and up from one product, ReLU inside it."""

    def __init__(self, mlp: MLP | GatedMLP, linear: type[FastLinear]) -> None:
        super().__init__()
        relu = isinstance(mlp, MLP) and isinstance(mlp.activation, nn.ReLU)
        parts = (mlp.gate_proj, mlp.up_proj) if isinstance(mlp, GatedMLP) else (mlp.up_proj,)
        self.up_proj, self.down_proj = linear(*parts, then="relu" if relu else "none"), linear(mlp.down_proj)
        self.gated, self.activation = isinstance(mlp, GatedMLP), nn.Identity() if relu else mlp.activation

    def inner(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_ff"]:
        """Everything before ``down_proj``."""
        x = self.up_proj.forward(x)
        if not self.gated:
            return self.activation(x)
        gate, up = x.chunk(2, dim=-1)
        return self.activation(gate) * up

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """See ``MLP.forward``."""
        return self.down_proj(self.inner(x))


class OneStep:
    """A packed layer for one new position: states are [rows, d_model], residual sums are part of a product."""

    def __init__(self, layer: CausalLayer | DecoderLayer) -> None:
        self.attn, self.mlp = cast(PackedSelfAttention, layer.attn), cast(PackedMLP | None, layer.mlp)
        self.attn_norms = _on_rows(layer.attn_norm), _on_rows(layer.attn_post_norm)
        self.attn_add = _adding(self.attn.o_proj, layer.attn_residual)
        if self.mlp is not None:
            self.mlp_norms = _on_rows(layer.mlp_norm), _on_rows(layer.mlp_post_norm)
            self.mlp_add = _adding(self.mlp.down_proj, layer.mlp_residual)
        if isinstance(layer, DecoderLayer):
            self.cross_attn = layer.cross_attn
            self.cross_norms = _on_rows(layer.cross_attn_norm), _on_rows(layer.cross_attn_post_norm)
            self.cross_add = _adding(cast(FastLinear, self.cross_attn.o_proj), layer.cross_attn_residual)

    def attend(self, x: States, kept: Tensor, *, at: int, bias: Bias, positions: Positions = None) -> States:
        """The self-attention sublayer; arguments as in ``PackedSelfAttention.step``."""
        before, after = self.attn_norms
        return after(self.attn_add(x, self.attn.step(before(x), at, kept, bias, positions)))

    def cross(self, x: States, memory: KeysValues, bias: MemoryBias) -> States:
        """The cross-attention sublayer of a decoder; see ``CrossAttention.forward``."""
        (before, after), attn, (keys, values) = self.cross_norms, self.cross_attn, memory
        q = attn.q_proj.forward(before(x)).view(len(keys), -1, attn.n_heads, attn.head_dim)
        q = unit_rms(q) if attn.qk_norm else q  # sentences beams heads head_dim
        mixed = attn.core.forward(q.transpose(1, 2), keys, values, mask=bias)
        return after(self.cross_add(x, mixed.transpose(1, 2).reshape(len(x), -1)))

    def feed_forward(self, x: States) -> States:
        """The feed-forward sublayer; returns ``x`` where the layer has none."""
        if self.mlp is None:
            return x
        before, after = self.mlp_norms
        return after(self.mlp_add(x, self.mlp.inner(before(x))))


class PackedDecoder(Decoder):
    """A ``Decoder`` that takes single positions through ``OneStep``, and longer ones as before."""

    def __init__(self, decoder: Decoder) -> None:
        nn.Module.__init__(self)
        self.embedding, self.score_bias = decoder.embedding, decoder.score_bias
        self.layers, self.norm = decoder.layers, decoder.norm
        self.steps = [OneStep(cast(DecoderLayer, layer)) for layer in decoder.layers]

    def forward(
        self,
        ids: Int[Tensor, "rows seq"],
        cross: list[KeysValues],
        *,
        memory_mask: MemoryMask | None,
        real: Real = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "rows seq d_model"]:
        """See ``Decoder.forward``."""
        if cache is None or ids.shape[1] > 1 or real is not None:
            return super().forward(ids, cross, memory_mask=memory_mask, real=real, cache=cache)
        cache.reserve(1)
        at = cache.length
        bias = None if self.score_bias is None else self.score_bias(1, at + 1)[None]
        memory_bias = None if memory_mask is None else additive_mask(memory_mask)  # once for all layers
        x = self.embedding(ids, start=at)[:, 0]
        for step, kept, memory in zip(self.steps, cache.buffer.unbind(), cross, strict=True):
            x = step.cross(step.attend(x, kept, at=at, bias=bias), memory, memory_bias)
            x = step.feed_forward(x)
        cache.advance(1)
        return _on_rows(self.norm)(x)[:, None]


class PackedGPT(GPT):
    """A ``GPT`` that takes single positions through ``OneStep``, and longer ones as before."""

    def __init__(self, gpt: GPT) -> None:
        nn.Module.__init__(self)
        self.config, self.vocab_size = gpt.config, gpt.vocab_size
        self.embedding, self.score_bias = gpt.embedding, gpt.score_bias
        self.layers, self.norm, self.lm_head = gpt.layers, gpt.norm, gpt.lm_head
        self.steps = [OneStep(cast(CausalLayer, layer)) for layer in gpt.layers]

    def hidden(
        self,
        ids: Int[Tensor, "batch seq"],
        *,
        mask: Bool[Tensor, "batch keys"] | None = None,
        positions: Int[Tensor, "batch seq"] | None = None,
        documents: Int[Tensor, "batch seq"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch seq d_model"]:
        """See ``GPT.hidden``."""
        if cache is None or ids.shape[1] > 1 or documents is not None:
            return super().hidden(ids, mask=mask, positions=positions, documents=documents, cache=cache)
        self.check_length(mask)
        cache.reserve(1)
        at, bias = cache.length, None
        if mask is not None:
            bias = additive_mask(mask)[:, None, None]  # batch 1 1 keys
            positions = mask.long().sum(1, keepdim=True) - 1 if positions is None else positions
        if self.score_bias is not None:
            distance = self.score_bias(1, at + 1)[None]
            bias = distance if bias is None else bias + distance
        x = self.embedding(ids, positions=positions, start=at if positions is None else 0)[:, 0]
        for step, kept in zip(self.steps, cache.buffer.unbind(), strict=True):
            x = step.feed_forward(step.attend(x, kept, at=at, bias=bias, positions=positions))
        cache.advance(1)
        return _on_rows(self.norm)(x)[:, None]


def _adding(linear: FastLinear, residual: Residual) -> Callable[[States, Tensor], States]:
    """The end of a sublayer: its last product, and the residual sum unless the layer goes without."""
    return linear.add_to if residual.skip else lambda x, branch: linear.forward(branch)


def _on_rows(norm: nn.Module) -> Callable[[States], States]:
    """A norm for [rows, d_model], without the module's call where there is a function for it."""
    match norm:
        case NoNorm():
            return lambda x: x
        case LayerNorm():
            return lambda x: torch.layer_norm(x, (norm.d_model,), norm.weight, norm.bias, norm.eps, False)
        case RMSNorm():
            return lambda x: torch.rms_norm(x, (norm.d_model,), norm.weight, norm.eps)
    return lambda x: norm(x[:, None])[:, 0]
