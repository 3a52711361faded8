"""The layers of a stack share one rotation, skip more often with depth, and are what their config says."""

import pytest
import torch

from clearhead.models.gpt import GPTConfig
from clearhead.models.stack import build_layers
from clearhead.nn.layer import BlockConfig, CausalLayer, EncoderLayer, Layer
from clearhead.nn.position import Rotary

SIZES = {"d_model": 8, "d_ff": 12, "n_heads": 2, "n_kv_heads": 1, "max_seq_len": 5, "dropout": 0.3}


def stack(kind: type[Layer] = CausalLayer, *, theta: float = 50.0, **words: object) -> list[Layer]:
    config = GPTConfig(**SIZES | words)  # type: ignore[arg-type]
    return [*build_layers(kind, config, 4, rotary_theta=theta)]  # type: ignore[list-item]


@pytest.mark.parametrize("kind", [CausalLayer, EncoderLayer])
def test_sizes_and_words_reach_each_layer(kind: type[Layer]) -> None:
    layers = stack(kind, block=BlockConfig(norm="rms", stochastic_depth=0.4))
    assert [type(layer) for layer in layers] == [kind] * 4
    for layer in layers:
        assert (layer.attn.n_heads, layer.attn.n_kv_heads, layer.attn.head_dim) == (2, 1, 4)
        assert layer.mlp is not None
        assert layer.mlp.up_proj.weight.shape == (12, 8)
        assert type(layer.attn_norm).__name__ == "RMSNorm"
        assert layer.attn_residual.dropout.p == 0.3
    assert [layer.attn_residual.drop_path for layer in layers] == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_rotary_positions_are_one_rotation_for_all_layers() -> None:
    layers = stack(position="rotary")
    rotary = layers[0].attn.rotary
    assert rotary is not None
    assert all(layer.attn.rotary is rotary for layer in layers)
    torch.testing.assert_close(rotary.cos, Rotary(4, 5, theta=50.0).cos)


@pytest.mark.parametrize("position", ["sinusoidal", "learned", "alibi", "none"])
def test_other_positions_turn_nothing(position: str) -> None:
    assert [layer.attn.rotary for layer in stack(position=position)] == [None] * 4
