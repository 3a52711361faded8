"""Initialization of weights: Xavier for the encoder-decoder and recurrent models, normal for GPT and BERT."""

import math

from torch import nn

from clearhead.nn.embedding import Embedding


def initialize(model: nn.Module) -> None:
    """Draws the weights of ``model`` from torch's default generator.

    Linear layers are Xavier-uniform (Glorot and Bengio 2010) with zero bias. Embedding tables are normal with
    standard deviation d_model^-0.5, so that rows scaled by sqrt(d_model) have features of variance 1 and a tied output
    layer gives logits of variance 1; the row of padding is zero.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():  # after the linear layers, since a tied table must end up with the table's values
        if isinstance(module, Embedding):
            table = module.tokens
            nn.init.normal_(table.weight, std=table.embedding_dim**-0.5)
            if table.padding_idx is not None:
                nn.init.zeros_(table.weight.data[table.padding_idx])


def initialize_normal(model: nn.Module, *, n_layers: int | None, std: float = 0.02) -> None:
    """Draws the weights of ``model`` as BERT and GPT-2 do, from torch's default generator.

    Matrices and tables are normal with ``std``; biases and the row of padding are zero.

    Args:
        model: its weights are drawn in place.
        n_layers: layers of a pre-norm stack; the last matrix of each residual branch then has std / sqrt(2 n_layers),
            so that the sum over all branches does not grow with depth (Radford et al. 2019, section 2.3). None gives
            those matrices ``std`` too, as in BERT, which normalizes every sum.
        std: standard deviation.
    """
    branch_end_std = std if n_layers is None else std / math.sqrt(2 * n_layers)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            ends_branch = name.endswith(("o_proj.weight", "down_proj.weight"))
            nn.init.normal_(parameter, std=branch_end_std if ends_branch else std)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight.data[module.padding_idx])
