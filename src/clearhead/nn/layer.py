"""Encoder and decoder layers: a ``BlockConfig`` says which norm, activation and attention they are made of."""

from abc import ABC
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, TypeVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clearhead.nn.activation import ActivationName
from clearhead.nn.attention import AttentionName, CrossAttention, SelfAttention, build_core, normalizes_queries_and_keys
from clearhead.nn.cache import KeysValues, LayerCache
from clearhead.nn.mask import AttendMask, MemoryMask
from clearhead.nn.mlp import MLP, GatedMLP, build_mlp
from clearhead.nn.norm import NoNorm, NormName, build_norm
from clearhead.nn.position import Rotary
from clearhead.nn.residual import Residual
from clearhead.ranges import Epsilon, Rate, Size

Hidden = Float[Tensor, "batch seq d_model"]
Real = Bool[Tensor, "batch seq"] | None
Positions = Int[Tensor, "batch seq"] | None
A = TypeVar("A", SelfAttention, CrossAttention)


@dataclass(frozen=True)
class BlockConfig:
    """What the layers of a stack are made of."""

    norm: NormName = "layer"
    """Which statistics the states are normalized by."""
    norm_position: Literal["pre", "post"] = "pre"
    """pre: norm before each sublayer and one after the stack; post: norm after each residual sum, as in 2017."""
    norm_eps: Epsilon = 1e-5
    """Added to the variance."""
    norm_groups: Size = 8
    """Number of groups of features; for the group norm only."""
    activation: ActivationName = "relu"
    """Activation of the feed-forward network; glu, reglu, geglu and swiglu make it gated."""
    attention: AttentionName = "scaled_dot_product"
    """How queries are compared with keys; qk_norm is the scaled dot product of normalized ones."""
    attn_dropout: Rate = 0.0
    """Dropout on the attention weights."""
    mlp_dropout: Rate = 0.0
    """Dropout after the activation of the feed-forward network."""
    stochastic_depth: Rate = 0.0
    """Rate at which a sequence skips a sublayer in training; it rises linearly with depth up to this value."""
    bias: bool | Literal["all"] = True
    """Whether the linear layers have a bias; ``all``: the output layer too, as in Marian."""
    residual: bool = True
    """Whether layers have residual connections; false is for experiments."""
    mlp: bool = True
    """Whether layers have a feed-forward network; false is for experiments."""


def _attention(
    kind: type[A], block: BlockConfig, d_model: int, heads: tuple[int, int | None], rotary: Rotary | None
) -> A:
    """Returns attention over (queries, keys and values) ``heads``, of the core that the block names."""
    n_heads, n_kv_heads = heads
    core = build_core(block.attention, n_heads, d_model // n_heads, dropout=block.attn_dropout)
    return kind(
        d_model,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        core=core,
        bias=bool(block.bias),
        rotary=rotary,
        qk_norm=normalizes_queries_and_keys(block.attention),
    )


def _norms(block: BlockConfig, d_model: int, *, causal: bool) -> tuple[nn.Module, nn.Module]:
    """Returns the modules before a sublayer and after its residual sum: one is the norm, the other does nothing."""
    norm = build_norm(block.norm, d_model, eps=block.norm_eps, groups=block.norm_groups, causal=causal)
    return (norm, NoNorm()) if block.norm_position == "pre" else (NoNorm(), norm)


def final_norm(block: BlockConfig, d_model: int, *, causal: bool = False) -> nn.Module:
    """Returns the module after a stack: a norm if the layers are pre-norm; post-norm layers already end in one."""
    return _norms(block, d_model, causal=causal)[0]


class Layer(nn.Module, ABC):
    """Self-attention and a feed-forward network, each with a norm and a residual connection.

    Pre-norm: x + branch(norm(x)). Post-norm: norm(x + branch(x)).

    Args:
        d_model: features of a hidden state.
        n_heads: attention heads.
        d_ff: features inside the feed-forward network.
        n_kv_heads: heads of keys and values; None is n_heads.
        dropout: rate on each branch.
        drop_path: rate of skipping a branch, per sequence.
        block: which norm, activation and attention; None means the defaults.
        rotary: rotation of queries and keys, or None.
    """

    causal: ClassVar[bool]
    crossed: ClassVar[bool] = False
    """Whether the layer also has cross-attention to a memory."""

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int,
        d_ff: int,
        n_kv_heads: int | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        block: BlockConfig | None = None,
        rotary: Rotary | None = None,
    ) -> None:
        super().__init__()
        parts = block or BlockConfig()

        residual = partial(Residual, dropout=dropout, drop_path=drop_path, skip=parts.residual)
        self.attn = _attention(SelfAttention, parts, d_model, (n_heads, n_kv_heads), rotary)
        self.attn_norm, self.attn_post_norm = _norms(parts, d_model, causal=self.causal)
        self.attn_residual = residual()
        self.mlp: MLP | GatedMLP | None = None
        if parts.mlp:
            self.mlp = build_mlp(parts.activation, d_model, d_ff, bias=bool(parts.bias), dropout=parts.mlp_dropout)
            self.mlp_norm, self.mlp_post_norm = _norms(parts, d_model, causal=self.causal)
            self.mlp_residual = residual()
        if self.crossed:
            self.cross_attn = _attention(CrossAttention, parts, d_model, (n_heads, n_kv_heads), None)
            self.cross_attn_norm, self.cross_attn_post_norm = _norms(parts, d_model, causal=self.causal)
            self.cross_attn_residual = residual()

    def attend(
        self,
        x: Hidden,
        *,
        mask: AttendMask | None,
        real: Real,
        cache: LayerCache | None = None,
        positions: Positions = None,
    ) -> Hidden:
        """Applies the self-attention sublayer; arguments as in the subclasses' ``forward``."""
        branch = self.attn(self.attn_norm(x, real), mask=mask, causal=self.causal, cache=cache, positions=positions)
        return self.attn_post_norm(self.attn_residual(x, branch), real)

    def feed_forward(self, x: Hidden, *, real: Real) -> Hidden:
        """Applies the feed-forward sublayer, if the layer has one."""
        if self.mlp is None:
            return x
        return self.mlp_post_norm(self.mlp_residual(x, self.mlp(self.mlp_norm(x, real))), real)


class EncoderLayer(Layer):
    """A layer in which every position attends to all others; arguments as in ``Layer``."""

    causal = False

    def forward(self, x: Hidden, *, mask: AttendMask | None = None, real: Real = None) -> Hidden:
        """Returns the states after this layer.

        Args:
            x: [batch, seq, d_model].
            mask: which keys each query may attend to, bool or float; None: all.
            real: [batch, seq], False at padding, for norms with statistics over positions; None: no padding.
        """
        return self.feed_forward(self.attend(x, mask=mask, real=real), real=real)


class CausalLayer(Layer):
    """A layer of a decoder-only model: positions attend to earlier ones; arguments as in ``Layer``."""

    causal = True

    def forward(
        self,
        x: Hidden,
        *,
        mask: AttendMask | None = None,
        real: Real = None,
        cache: LayerCache | None = None,
        positions: Positions = None,
    ) -> Hidden:
        """Returns the states after this layer.

        Args:
            x: [rows, seq, d_model].
            mask: further restricts causal attention; None: all earlier positions may be attended to.
            real: [rows, seq], False at padding, for norms with statistics over positions; None: no padding.
            cache: this layer's earlier keys and values.
            positions: [rows, seq], for rotary; None continues after the positions in the cache.
        """
        return self.feed_forward(self.attend(x, mask=mask, real=real, cache=cache, positions=positions), real=real)


class DecoderLayer(Layer):
    """Causal self-attention, cross-attention to the encoder's memory, feed-forward; arguments as in ``Layer``."""

    causal = True
    crossed = True

    def forward(
        self,
        x: Hidden,
        keys_values: KeysValues,
        *,
        memory_mask: MemoryMask | None = None,
        mask: AttendMask | None = None,
        real: Real = None,
        cache: LayerCache | None = None,
    ) -> Hidden:
        """Returns the states after this layer.

        Args:
            x: [rows, seq, d_model].
            keys_values: the projected memory from ``cross_attn.keys_values``, one row per sentence.
            memory_mask: bool [sentences, 1, 1, memory], False at padding of the source; None: no padding.
            mask: further restricts causal self-attention; None: all earlier positions may be attended to.
            real: [rows, seq], False at padding, for norms with statistics over positions; None: no padding.
            cache: this layer's earlier self-attention keys and values.
        """
        x = self.attend(x, mask=mask, real=real, cache=cache)
        branch = self.cross_attn(self.cross_attn_norm(x, real), keys_values, mask=memory_mask)
        x = self.cross_attn_post_norm(self.cross_attn_residual(x, branch), real)
        return self.feed_forward(x, real=real)
