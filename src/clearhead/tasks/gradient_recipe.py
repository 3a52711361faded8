"""What the recipes of all models that learn by gradients have in common."""

from torch import nn

from clearhead.errors import UsageError
from clearhead.nn.lora import LoraConfig, add_lora
from clearhead.text.tokenizer import TokenizerConfig


def check_encoded_once(config: TokenizerConfig) -> None:
    """Checks that pieces are not drawn anew each epoch; ValueError if they are."""
    if config.dropout:
        raise ValueError(f"tokenizer.dropout = {config.dropout}: text is encoded once, so it must be 0")


def adapt_layers(model: nn.Module, lora: LoraConfig | None) -> None:
    """Sets small products beside the layers of ``model``, if asked to; UsageError if none has such a name."""
    if lora is None:
        return
    try:
        add_lora(model, lora)
    except ValueError as error:
        raise UsageError(str(error)) from error
