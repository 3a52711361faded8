"""The message names the sizes that do not fit together, whichever model they are for."""

from typing import Any

import pytest

from clearhead.models.bert import BertConfig
from clearhead.models.gpt import GPTConfig
from clearhead.models.transformer import TransformerConfig
from clearhead.nn.layer import BlockConfig

GROUPS = BlockConfig(norm="group", norm_groups=3)


@pytest.mark.parametrize("config", [BertConfig, GPTConfig, TransformerConfig])
@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"d_model": 10, "n_heads": 4}, "model.n_heads = 4: must divide model.d_model = 10"),
        ({"d_model": 16, "n_heads": 4, "n_kv_heads": 3}, "model.n_kv_heads = 3: must divide model.n_heads = 4"),
        ({"d_model": 12, "n_heads": 4, "position": "rotary"}, "needs an even head size, not 3"),
        ({"d_model": 9, "n_heads": 3, "position": "sinusoidal"}, "sinusoidal positions need an even number"),
        ({"d_model": 16, "n_heads": 4, "block": GROUPS}, "model.block.norm_groups = 3: must divide"),
    ],
)
def test_wrong_sizes_are_named(config: Any, sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**sizes)
