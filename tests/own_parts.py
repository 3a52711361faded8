"""Parts of somebody's own, as a user would write them: the same mathematics as ours, in another way."""

from typing import Any

import torch
from torch import Tensor, nn

from clearhead.models.bert import BertClassifier, BertPretraining
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer
from clearhead.nn.attention import AttentionCore
from clearhead.nn.norm import Norm
from clearhead.tasks.own import OwnModelConfig

built: list[Any] = []
"""What was built here, in order."""


class PlainNorm(Norm):
    """Layer norm, written out."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return self.affine(centred / (centred.square().mean(-1, keepdim=True) + self.eps).sqrt())


class MeanNorm(PlainNorm):
    """Looks at other positions."""

    position_wise = False


class PlainMLP(nn.Module):
    """ReLU between two products."""

    def __init__(self, d_model: int, d_ff: int, *, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)
        self.dropout = nn.Dropout(dropout)
        built.append((d_model, d_ff, dropout))

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.second(self.dropout(self.first(x).clamp(min=0)))
        return hidden


class PlainAttention(AttentionCore):
    """Scaled dot products, written out, for as many heads of keys as of queries."""

    def __init__(self, n_heads: int, head_dim: int, *, dropout: float) -> None:
        super().__init__(dropout=dropout)
        self.scale = head_dim**-0.5

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        k, v = (one.repeat_interleave(q.shape[1] // one.shape[1], dim=1) for one in (k, v))
        scores = q @ k.transpose(-2, -1) * self.scale
        if causal:
            later = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).triu(k.shape[2] - q.shape[2] + 1)
            scores = scores.masked_fill(later, float("-inf"))
        return self.explicit(scores, v, mask)


class OwnGPT(GPT):
    """A GPT that counts how often it was asked."""

    asked = 0

    def hidden(self, *args: Any, **words: Any) -> Tensor:
        type(self).asked += 1
        return super().hidden(*args, **words)


class OwnBert(BertPretraining):
    """A BERT of another class."""


def own_gpt(config: OwnModelConfig) -> OwnGPT:
    assert config.d_model == config.model.d_model
    return OwnGPT(config.model, **config.settings)


def own_bert(config: OwnModelConfig) -> OwnBert:
    return OwnBert(config.model, **config.settings)


def own_translator(config: OwnModelConfig) -> Transformer:
    return Transformer(config.model, **config.settings)


def own_classifier(config: OwnModelConfig) -> BertClassifier:
    return BertClassifier(config.model, **config.settings)


def wrong_model(config: OwnModelConfig) -> nn.Module:
    return nn.Linear(config.d_model, config.vocab_size)
