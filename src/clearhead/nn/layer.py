"""Encoder and decoder layers, put together from the parts by the words of a ``BlockConfig``."""

from abc import ABC
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeVar

from annotated_types import Ge, Gt, Lt
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

Rate = Annotated[float, Ge(0.0), Lt(1.0)]
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
    """Norm before each sublayer (and one after the stack), or after each residual sum as in 2017."""
    norm_eps: Annotated[float, Gt(0.0)] = 1e-5
    """Added to the variance."""
    norm_groups: Annotated[int, Ge(1)] = 8
    """Groups of features, for the group norm."""
    activation: ActivationName = "relu"
    """Activation of the feed-forward network; a name of the GLU family makes it gated."""
    attention: AttentionName = "scaled_dot_product"
    """How queries are compared with keys; qk_norm is the scaled dot product of normalized ones."""
    attn_dropout: Rate = 0.0
    """Dropout on the attention weights."""
    mlp_dropout: Rate = 0.0
    """Dropout after the activation of the feed-forward network."""
    stochastic_depth: Rate = 0.0
    """Rate at which a sequence skips a sublayer, rising linearly with depth to this value."""
    bias: bool | Literal["all"] = True
    """Whether the linear layers have a bias; ``all``: the output layer too, as in Marian."""
    residual: bool = True
    """Whether the residual connection is there."""
    mlp: bool = True
    """Whether the feed-forward network is there."""


def _norms(block: BlockConfig, d_model: int, *, causal: bool) -> tuple[nn.Module, nn.Module]:
    """Returns what stands before a sublayer and what stands after its residual sum; one of them is the norm."""
    norm = build_norm(block.norm, d_model, eps=block.norm_eps, groups=block.norm_groups, causal=causal)
    return (norm, NoNorm()) if block.norm_position == "pre" else (NoNorm(), norm)


def final_norm(block: BlockConfig, d_model: int, *, causal: bool = False) -> nn.Module:
    """What stands after a stack: a norm where the layers are pre-norm, nothing where they end in one."""
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
        block: the words that choose norm, activation and attention.
        rotary: rotation of queries and keys, or None.
    """

    causal: ClassVar[bool]
    crossed: ClassVar[bool] = False
    """Whether there is attention to a memory too."""

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
        words = block or BlockConfig()

        def attention(kind: type[A], rotary: Rotary | None) -> A:
            core = build_core(words.attention, n_heads, d_model // n_heads, dropout=words.attn_dropout)
            return kind(
                d_model,
                n_heads=n_heads,
                n_kv_heads=n_kv_heads,
                core=core,
                bias=bool(words.bias),
                rotary=rotary,
                qk_norm=normalizes_queries_and_keys(words.attention),
            )

        def residual() -> Residual:
            return Residual(dropout=dropout, drop_path=drop_path, skip=words.residual)

        self.attn = attention(SelfAttention, rotary)
        self.attn_norm, self.attn_post_norm = _norms(words, d_model, causal=self.causal)
        self.attn_residual = residual()
        self.mlp: MLP | GatedMLP | None = None
        if words.mlp:
            self.mlp = build_mlp(words.activation, d_model, d_ff, bias=bool(words.bias), dropout=words.mlp_dropout)
            self.mlp_norm, self.mlp_post_norm = _norms(words, d_model, causal=self.causal)
            self.mlp_residual = residual()
        if self.crossed:
            self.cross_attn = attention(CrossAttention, None)
            self.cross_attn_norm, self.cross_attn_post_norm = _norms(words, d_model, causal=self.causal)
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
        """The self-attention sublayer; arguments as in the ``forward`` of the final classes."""
        branch = self.attn(self.attn_norm(x, real), mask=mask, causal=self.causal, cache=cache, positions=positions)
        return self.attn_post_norm(self.attn_residual(x, branch), real)

    def feed_forward(self, x: Hidden, *, real: Real) -> Hidden:
        """The feed-forward sublayer, where there is one."""
        if self.mlp is None:
            return x
        return self.mlp_post_norm(self.mlp_residual(x, self.mlp(self.mlp_norm(x, real))), real)


class EncoderLayer(Layer):
    """A layer whose positions see each other on both sides; arguments as in ``Layer``."""

    causal = False

    def forward(self, x: Hidden, *, mask: AttendMask | None = None, real: Real = None) -> Hidden:
        """Returns the states after this layer.

        Args:
            x: [batch, seq, d_model].
            mask: which keys each query may attend to, bool or float; None admits all.
            real: [batch, seq], True at real pieces, for norms with statistics over positions; None: all are.
        """
        return self.feed_forward(self.attend(x, mask=mask, real=real), real=real)


class CausalLayer(Layer):
    """A layer whose positions see what is before them, for models without an encoder; arguments as in ``Layer``."""

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
            mask: restricts attention besides the causal order; None admits all before.
            real: [rows, seq], True at real pieces, for norms with statistics over positions; None: all are.
            cache: this layer's keys and values so far.
            positions: [rows, seq], for rotary; None counts on from the cache.
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
            keys_values: the memory as ``cross_attn.keys_values`` gives it, one row per sentence.
            memory_mask: bool [batch, 1, 1, keys], real pieces of the source; None: all are.
            mask: restricts self-attention besides the causal order; None admits all before.
            real: [rows, seq], True at real pieces, for norms with statistics over positions; None: all are.
            cache: this layer's self-attention keys and values so far.
        """
        x = self.attend(x, mask=mask, real=real, cache=cache)
        branch = self.cross_attn(self.cross_attn_norm(x, real), keys_values, mask=memory_mask)
        x = self.cross_attn_post_norm(self.cross_attn_residual(x, branch), real)
        return self.feed_forward(x, real=real)
