"""The layers of an attention model, one after another, from its config."""

from torch import nn

from clearhead.models.checks import Sizes
from clearhead.nn.layer import Layer
from clearhead.nn.position import RotaryScalingConfig, build_rotary


def build_layers(
    kind: type[Layer],
    config: Sizes,
    n_layers: int,
    *,
    rotary_theta: float = 10000.0,
    rotary_scaling: RotaryScalingConfig | None = None,
) -> nn.ModuleList:
    """Builds the layers of a stack; the rate at which a sequence skips one rises with depth.

    Args:
        kind: what each of them is.
        config: sizes and parts.
        n_layers: how many there are.
        rotary_theta: base of the rates, for rotary positions; all layers share one rotation.
        rotary_scaling: how the rates are lowered; None: not at all.
    """
    head_dim = config.d_model // config.n_heads
    rotary = build_rotary(config.position, head_dim, config.max_seq_len, theta=rotary_theta, scaling=rotary_scaling)
    return nn.ModuleList(
        kind(
            config.d_model,
            n_heads=config.n_heads,
            d_ff=config.d_ff,
            n_kv_heads=config.n_kv_heads,
            dropout=config.dropout,
            drop_path=config.block.stochastic_depth * (index + 1) / n_layers,
            block=config.block,
            rotary=rotary,
        )
        for index in range(n_layers)
    )
