"""Initialization: what a small Transformer starts from."""

from torch import nn

from clearhead.nn.embedding import Embedding


def initialize(model: nn.Module) -> None:
    """Draws the weights of ``model`` from torch's default generator.

    Linear layers are Xavier-uniform (Glorot and Bengio 2010) with zero bias. Embedding tables are normal with
    standard deviation d_model^-0.5, so that scaled rows have unit features and a tied output layer unit logits;
    the row of padding is zero.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():  # after the linear layers: a tied table has the last word
        if isinstance(module, Embedding):
            table = module.tokens
            nn.init.normal_(table.weight, std=table.embedding_dim**-0.5)
            if table.padding_idx is not None:
                nn.init.zeros_(table.weight.data[table.padding_idx])
