"""Parts of a model in place of ours: norms, feed-forward networks and attention functions of somebody's own."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from clearhead.nn.attention import Attention, AttentionCore
from clearhead.nn.layer import Layer
from clearhead.nn.mlp import MLP, GatedMLP
from clearhead.nn.norm import Norm

Slot = Literal["norm", "mlp", "attention"]
"""Which parts can be replaced."""
BASES: dict[Slot, type[nn.Module]] = {"norm": Norm, "mlp": nn.Module, "attention": AttentionCore}
"""What a part must be derived from."""


def replace_parts(model: nn.Module, slot: Slot, make: Callable[..., nn.Module]) -> None:
    """Replaces every part of a kind in ``model``, from its beginning to its end.

    Args:
        model: with the parts of ours.
        slot: which kind. norm: every norm, those of the layers and those outside them. mlp: the feed-forward networks
            of the layers. attention: what makes weighted sums of queries, keys and values in each layer; the
            projections around it stay.
        make: the class of the new part, called as ``make(d_model, eps=...)``, ``make(d_model, d_ff, dropout=...)`` or
            ``make(n_heads, head_dim, dropout=...)``. It is called as ours is: ``norm(x, mask)``, ``mlp(x)``,
            ``attention(q, k, v, mask=..., causal=...)``.
    """
    for owner in list(model.modules()):
        for name, part in list(owner.named_children()):
            if slot == "norm" and isinstance(part, Norm):
                setattr(owner, name, make(part.d_model, eps=part.eps))
            elif slot == "mlp" and isinstance(owner, Layer) and isinstance(part, MLP | GatedMLP):
                sizes = part.up_proj.in_features, part.up_proj.out_features
                setattr(owner, name, make(*sizes, dropout=part.dropout.p))
            elif slot == "attention" and isinstance(owner, Attention) and isinstance(part, AttentionCore):
                setattr(owner, name, make(owner.n_heads, owner.head_dim, dropout=part.dropout.p))
