"""Initialization: what a small Transformer starts from."""

import math

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


def initialize_normal(model: nn.Module, *, n_layers: int | None, std: float = 0.02) -> None:
    """Draws the weights of ``model`` as BERT and GPT-2 do, from torch's default generator.

    Matrices and tables are normal with ``std``; biases and the row of padding are zero. With ``n_layers`` those that
    end a residual branch have std / sqrt(2 n_layers), so that the sum over all branches keeps its size (Radford et al.
    2019, section 2.3); None leaves them as the others, as BERT does, where every sum is normalized.
    """
    shrunk = std if n_layers is None else std / math.sqrt(2 * n_layers)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            ends_branch = name.endswith(("o_proj.weight", "down_proj.weight"))
            nn.init.normal_(parameter, std=shrunk if ends_branch else std)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight.data[module.padding_idx])
