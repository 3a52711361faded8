"""Rotary positions in a config.json: what is refused by name, and how they are written."""

from typing import Any

import pytest

from clearhead.errors import ModelError
from clearhead.interop.rope import read_rope, write_rope
from clearhead.models.gpt import GPTConfig
from clearhead.nn.position import RotaryScalingConfig

SIZES: dict[str, Any] = {"d_model": 8, "d_ff": 12, "n_heads": 2, "n_layers": 1, "max_seq_len": 40}


def read(**words: Any) -> dict[str, Any]:
    return read_rope({"max_position_embeddings": 10, **words})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"rope_scaling": 3}, "config.json: rope_scaling = 3: must be a table"),
        ({"rope_scaling": {"type": "su"}}, "config.json: rope_scaling.type = 'su': must be 'default' or 'linear' or"),
        ({"rope_parameters": {"rope_type": "proportional"}}, "config.json: rope_parameters.rope_type = 'proportional'"),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "default"}}},
            "config.json: rope_parameters.full_attention",
        ),
        ({"rope_theta": "9"}, "config.json: rope_theta = '9': must be a number above 0"),
        ({"rope_parameters": {"rope_theta": None}}, "config.json: rope_theta = None: must be a number above 0"),
        ({"partial_rotary_factor": 0.5}, "config.json: partial_rotary_factor = 0.5: must be 1.0"),
        (
            {"rope_scaling": {"type": "linear", "factor": 0.5}},
            "config.json: rope_scaling: factor = 0.5: input should be",
        ),
        ({"rope_scaling": {"type": "llama3", "factor": 2.0}}, "config.json: rope_scaling.low_freq_factor is missing"),
        (
            {"rope_scaling": {"type": "llama3", "factor": 2.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}},
            "config.json: rope_scaling: high_freq_factor = 4.0: must be above low_freq_factor = 4.0",
        ),
    ],
)
def test_what_ours_does_not_have_is_refused_by_name(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        read(**words)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "written",
    [
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "dynamic", "factor": 4.0},
        {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 5}
        | {"low_freq_factor": 1.0, "high_freq_factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 10},
        {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 10,
            "beta_fast": 16.0,
            "truncate": False,
        },
    ],
)
def test_what_was_read_is_written(written: dict[str, Any]) -> None:
    tree = read(rope_scaling=written, rope_theta=7.0)
    scaling = RotaryScalingConfig(**tree["rotary_scaling"])
    config = GPTConfig(**SIZES | tree | {"rotary_scaling": scaling}, position="rotary")
    back = write_rope(config)
    assert (back["rope_scaling"], back["rope_parameters"]) == (written, {**written, "rope_theta": 7.0})
    assert back["rope_theta"] == 7.0
    assert read_rope(back) == tree
    assert config.max_seq_len == (10 if written["rope_type"] == "llama3" else 40)


def test_a_plain_rotation() -> None:
    assert read(rope_scaling=None) == {"rotary_theta": 10000.0, "rotary_scaling": None, "max_seq_len": 10}
    assert "rope_scaling" not in write_rope(GPTConfig(**SIZES, position="rotary"))


def test_only_what_rotates_is_scaled() -> None:
    with pytest.raises(ValueError, match=r"model.rotary_scaling: needs model.position = 'rotary', not 'learned'"):
        GPTConfig(**SIZES, rotary_scaling=RotaryScalingConfig())
    with pytest.raises(ValueError, match=r"model.rotary_theta = 1.0: must be above 1 with yarn"):
        GPTConfig(**SIZES, position="rotary", rotary_theta=1.0, rotary_scaling=RotaryScalingConfig("yarn"))
