"""What recipes of models that learn by gradients share: where LoRA is laid on, and pieces that are encoded once."""

import pytest

from clearhead.errors import UsageError
from clearhead.nn.lora import LoraConfig, LoraLinear
from clearhead.tasks.gradient_recipe import adapt_layers, check_encoded_once
from clearhead.text.tokenizer import TokenizerConfig
from tests.small import small


def test_layers_are_adapted_by_name_or_the_name_is_refused() -> None:
    model = small()
    adapt_layers(model, None)
    assert not any(isinstance(part, LoraLinear) for part in model.modules())
    adapt_layers(model, LoraConfig(targets=("q_proj",)))
    assert any(isinstance(part, LoraLinear) for part in model.modules())
    with pytest.raises(UsageError, match="nothing_like_it"):
        adapt_layers(small(), LoraConfig(targets=("nothing_like_it",)))


def test_pieces_drawn_anew_do_not_go_with_text_that_is_encoded_once() -> None:
    check_encoded_once(TokenizerConfig())
    with pytest.raises(ValueError, match=r"tokenizer.dropout = 0.1: text is encoded once, so it must be 0"):
        check_encoded_once(TokenizerConfig(dropout=0.1))
