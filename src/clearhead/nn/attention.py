"""Attention: scaled dot-product and additive; self and cross; multi-head, grouped-query and multi-query."""

import math
from abc import ABC
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from clearhead.nn.cache import KeysValues, LayerCache
from clearhead.nn.dropout import Dropout
from clearhead.nn.mask import AttendMask, MemoryMask, causal_mask
from clearhead.nn.position import Rotary

AttentionName = Literal["scaled_dot_product", "qk_norm", "additive"]
MOST_EXPLICIT_KEYS = 256
"""Up to which length two products and a softmax of bfloat16 are faster on a CPU than the fused kernel of float32."""
Hidden = Float[Tensor, "batch queries d_model"]
Queries = Float[Tensor, "batch heads queries head_dim"]
Keys = Float[Tensor, "batch kv_heads keys head_dim"]


class AttentionCore(nn.Module):
    """Computes weighted sums of the values; hooks on ``tap`` see the weights [batch, heads, queries, keys].

    ``tap`` is an identity module after softmax. With a forward hook on it, the weights are computed explicitly; without
    one, PyTorch's fused kernel runs and never materializes them. Both give the same result. In bfloat16 on a CPU the
    weights of short sequences are always computed explicitly, which is faster there.
    """

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.tap = nn.Identity()

    def explicit(self, scores: Tensor, values: Tensor, mask: AttendMask | None) -> Tensor:
        """Applies the mask, takes the softmax over the keys, and returns the weighted sum of the values."""
        if mask is not None:
            scores = scores + mask if mask.is_floating_point() else scores.masked_fill(~mask, float("-inf"))
        weights = self.dropout(self.tap(scores.softmax(dim=-1)))
        return torch.matmul(weights, _repeat_heads(values, scores.shape[1]))


class ScaledDotProduct(AttentionCore):
    """softmax(q k^T / sqrt(head_dim)) v (Vaswani et al. 2017, equation 1).

    If queries and keys have variance 1, the scale gives the scores variance 1 too, so that softmax does not saturate.
    """

    def forward(self, q: Queries, k: Keys, v: Keys, *, mask: AttendMask | None = None, causal: bool = False) -> Queries:
        narrow = v.dtype == torch.bfloat16 and v.device.type == "cpu"
        if _is_watched(self.tap) or (narrow and k.shape[2] <= MOST_EXPLICIT_KEYS):
            mask = _add_causal(mask, q, k) if causal else mask
            scores = torch.matmul(q, _repeat_heads(k, q.shape[1]).transpose(-2, -1)) / math.sqrt(q.shape[-1])
            return self.explicit(scores, v, mask)
        if causal and (mask is not None or 1 < q.shape[2] != k.shape[2]):
            # the kernel takes a mask or its own causal order, not both, and aligns that order for equal lengths only
            mask, causal = _add_causal(mask, q, k), False
        if narrow:
            # the backward pass of the bfloat16 kernel takes 2.6 times as long as that of the float32 one
            with torch.autocast("cpu", enabled=False):
                return self._fused(q.float(), k.float(), v.float(), mask, causal).to(v.dtype)
        return self._fused(q, k, v, mask, causal)

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        # branches: the kernel takes no symbols, which comparisons of sizes are to a compiler that leaves them open
        shared = False
        if q.shape[1] != k.shape[1]:
            shared = True
        if q.shape[2] == 1:  # a single new piece may attend to all keys
            causal = False
        return functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=self.dropout.p if self.training else 0.0,
            is_causal=causal,
            enable_gqa=shared,
        )


class Additive(AttentionCore):
    """score(q, k) = v . tanh(q + k), one vector v per head (Bahdanau et al. 2015, arXiv:1409.0473)."""

    def __init__(self, n_heads: int, head_dim: int, *, dropout: float = 0.0) -> None:
        super().__init__(dropout=dropout)
        self.score = nn.Parameter(torch.empty(n_heads, head_dim))
        nn.init.uniform_(self.score, -1 / math.sqrt(head_dim), 1 / math.sqrt(head_dim))

    def forward(self, q: Queries, k: Keys, v: Keys, *, mask: AttendMask | None = None, causal: bool = False) -> Queries:
        k = _repeat_heads(k, q.shape[1])
        joint = torch.tanh(q.unsqueeze(3) + k.unsqueeze(2))  # batch heads queries keys head_dim
        scores = torch.einsum("bhqkd,hd->bhqk", joint, self.score)
        return self.explicit(scores, v, _add_causal(mask, q, k) if causal else mask)


def normalizes_queries_and_keys(name: AttentionName) -> bool:
    """Whether ``name`` divides every query and key by its root mean square before the scores."""
    return name == "qk_norm"


def build_core(name: AttentionName, n_heads: int, head_dim: int, *, dropout: float = 0.0) -> AttentionCore:
    """Builds the attention function by its config word."""
    match name:
        case "scaled_dot_product" | "qk_norm":
            return ScaledDotProduct(dropout=dropout)
        case "additive":
            return Additive(n_heads, head_dim, dropout=dropout)


class Attention(nn.Module, ABC):
    """The projections of queries, keys, values and output around an attention function.

    Args:
        d_model: features of the input and of the output.
        n_heads: heads of queries; must divide d_model.
        n_kv_heads: heads of keys and values, each shared by n_heads / n_kv_heads heads of queries (Ainslie et al. 2023,
            arXiv:2305.13245): n_heads gives multi-head, 1 multi-query attention; None means n_heads.
        core: the attention function; None means scaled dot-product.
        bias: whether the four projections have a bias.
        rotary: rotation of queries and keys, for self-attention, or None.
        qk_norm: divide every query and key by its root mean square (after Henry et al. 2020, arXiv:2010.04245; there is
            no gain, so it makes no difference whether the rotation comes before or after).
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int,
        n_kv_heads: int | None = None,
        core: AttentionCore | None = None,
        bias: bool = True,
        rotary: Rotary | None = None,
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads = n_heads, n_heads if n_kv_heads is None else n_kv_heads
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"n_heads = {n_heads}: must divide d_model = {d_model}")
        if self.n_kv_heads < 1 or n_heads % self.n_kv_heads:
            raise ValueError(f"n_kv_heads = {n_kv_heads}: must divide n_heads = {n_heads}")
        self.head_dim = d_model // n_heads
        self.q_proj = nn.Linear(d_model, d_model, bias=bias)
        self.k_proj = nn.Linear(d_model, self.n_kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(d_model, self.n_kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(d_model, d_model, bias=bias)
        self.core = core or ScaledDotProduct()
        self.rotary, self.qk_norm = rotary, qk_norm


class SelfAttention(Attention):
    """Multi-head attention of a sequence to itself; arguments as in ``Attention``."""

    def forward(
        self,
        x: Hidden,
        *,
        mask: AttendMask | None = None,
        causal: bool = False,
        cache: LayerCache | None = None,
        positions: Int[Tensor, "batch queries"] | None = None,
    ) -> Hidden:
        """Attends within ``x`` and to the earlier positions in ``cache``.

        Args:
            x: [batch, queries, d_model].
            mask: bool, True = may attend, or float, which is added to the scores; None: every key may be attended to.
            causal: also restrict each position to itself and the positions before it.
            cache: this layer's earlier keys and values; the new ones are appended to it.
            positions: [batch, queries], for rotary; None continues after the positions in the cache.
        """
        q, k, v = _project(x, self.q_proj, self.k_proj, self.v_proj)
        q, k, v = _split_heads(q, self.n_heads), _split_heads(k, self.n_kv_heads), _split_heads(v, self.n_kv_heads)
        if self.qk_norm:
            q, k = unit_rms(q), unit_rms(k)
        if self.rotary is not None:
            start = 0 if cache is None else cache.length
            q, k = (self.rotary(part, start, positions) for part in (q, k))
        if cache is not None:
            k, v = cache.append(k, v)
        return self.o_proj(_join_heads(self.core(q, k, v, mask=mask, causal=causal)))


class CrossAttention(Attention):
    """Multi-head attention of a decoder to the encoder's memory; arguments as in ``Attention``.

    ``keys_values`` computes the keys and values once per sentence. ``x`` may have several rows for a sentence, one per
    beam: they are treated as further query positions on that sentence's memory, which is not copied.
    """

    def keys_values(self, memory: Float[Tensor, "sentences memory d_model"]) -> KeysValues:
        """Projects the memory to keys and values, each [sentences, kv_heads, memory, head_dim]."""
        keys, values = (_split_heads(x, self.n_kv_heads) for x in _project(memory, self.k_proj, self.v_proj))
        return unit_rms(keys) if self.qk_norm else keys, values

    def forward(self, x: Hidden, keys_values: KeysValues, *, mask: MemoryMask | None = None) -> Hidden:
        """Attends from each row of ``x`` to the memory of the sentence that the row belongs to.

        Args:
            x: [rows, queries, d_model], decoder states; row r belongs to sentence r // (rows / sentences).
            keys_values: the result of the method ``keys_values``.
            mask: bool [sentences, 1, 1, memory], True = may attend; None: every key may be attended to.
        """
        keys, values = keys_values
        rows, queries, _ = x.shape
        q = self.q_proj(x).view(keys.shape[0], -1, self.n_heads * self.head_dim)  # sentences (beams queries) d_model
        q = _split_heads(q, self.n_heads)
        mixed = self.core(unit_rms(q) if self.qk_norm else q, keys, values, mask=mask)
        return self.o_proj(_join_heads(mixed)).view(rows, queries, -1)


def unit_rms(x: Float[Tensor, "*any head_dim"]) -> Float[Tensor, "*any head_dim"]:
    """Divides each vector by its root mean square."""
    return functional.rms_norm(x, x.shape[-1:])


def _project(x: Tensor, *projections: nn.Module) -> Sequence[Tensor]:
    """Applies several projections to ``x``, as one matrix product if all are plain linear layers without hooks."""
    plain = [layer for layer in projections if type(layer) is nn.Linear and not _is_watched(layer)]
    if len(plain) < len(projections):
        return [projection(x) for projection in projections]
    weight = torch.cat([layer.weight for layer in plain])
    bias = None if plain[0].bias is None else torch.cat([layer.bias for layer in plain])
    return functional.linear(x, weight, bias).split([layer.out_features for layer in plain], dim=-1)


def _is_watched(module: nn.Module) -> bool:
    """True if a forward hook is on the module.

    Where PyTorch no longer keeps hooks under these private names every module counts as watched: that way is slower,
    and its results are the same whether or not there is a hook.
    """
    return bool(getattr(module, "_forward_hooks", True) or getattr(module, "_forward_pre_hooks", True))


def _split_heads(x: Tensor, heads: int) -> Tensor:
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)  # batch seq (heads dim) -> batch heads seq dim


def _join_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)  # batch heads seq dim -> batch seq (heads dim)


def _repeat_heads(x: Tensor, n_heads: int) -> Tensor:
    """Repeats each head of keys or values for the heads of queries that share it."""
    sharing = n_heads // x.shape[1]
    return x if sharing == 1 else x.repeat_interleave(sharing, dim=1)


def _add_causal(mask: AttendMask | None, q: Tensor, k: Tensor) -> AttendMask | None:
    """Restricts ``mask`` to the causal order, in which a single new piece may attend to all keys."""
    if q.shape[2] == 1:
        return mask
    order = causal_mask(q.shape[2], k.shape[2], q.device)
    if mask is None:
        return order[None, None]
    return mask.masked_fill(~order, float("-inf")) if mask.is_floating_point() else mask & order
