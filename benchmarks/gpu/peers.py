"""The steps of the peers: nanoGPT's model in our words, Hugging Face's GPT-2, Marian and BERT, each with a plain loop.

nanoGPT's is written from its published description and ``model.py`` (Karpathy, github.com/karpathy/nanoGPT, MIT): no
biases, GELU, one projection for queries, keys and values, weights of input and output shared, all logits at once, the
whole model compiled as ``train.py`` does. Hugging Face's run out of the box, and with each of their layers compiled.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

Loss = Callable[[], Tensor]


def plain_step(net: nn.Module, losses: list[Loss], optimizer: torch.optim.Optimizer) -> Callable[[], object]:
    """Returns a step of a usual loop: bfloat16 by autocast, gradients of all batches, clipped, one update."""
    device = next(net.parameters()).device.type

    def step() -> None:
        for loss in losses:
            with torch.autocast(device, torch.bfloat16):
                value = loss()
            (value / len(losses)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def adamw(net: nn.Module, *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float):
    """Returns the fused optimizer, with decay of matrices alone."""
    weights = list(net.parameters())
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=True)


class NanoBlock(nn.Module):
    """Attention and feed-forward network of nanoGPT."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = (nn.LayerNorm(d, bias=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.up, self.down = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, d = x.shape
        q, k, v = (
            part.view(rows, length, self.heads, d // self.heads).transpose(1, 2)
            for part in self.qkv(self.before(x)).split(d, dim=2)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, d))
        return x + self.down(functional.gelu(self.up(self.between(x))))


class NanoGPT(nn.Module):
    """nanoGPT's model; its forward pass returns the mean loss."""

    def __init__(self, *, n: int, d: int, heads: int, vocab: int, length: int) -> None:
        super().__init__()
        self.pieces, self.places = nn.Embedding(vocab, d), nn.Embedding(length, d)
        self.blocks = nn.ModuleList(NanoBlock(d, heads) for _ in range(n))
        self.norm, self.head = nn.LayerNorm(d, bias=False), nn.Linear(d, vocab, bias=False)
        self.apply(lambda part: nn.init.normal_(part.weight, std=0.02) if isinstance(part, nn.Linear) else None)
        nn.init.normal_(self.places.weight, std=0.02)
        self.pieces.weight = self.head.weight

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.pieces(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return functional.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())


def gpt2(*, n: int, d: int, heads: int, vocab: int, length: int) -> nn.Module:
    """Returns Hugging Face's GPT-2 without dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel

    rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    sizes = {"n_positions": length, "n_embd": d, "n_layer": n, "n_head": heads}
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocab, bos_token_id=0, eos_token_id=0, **sizes, **rates))


def bert(*, n: int, d: int, ff: int, heads: int, vocab: int, length: int, dropout: float) -> nn.Module:
    """Returns Hugging Face's ``BertForPreTraining``."""
    from transformers import BertConfig, BertForPreTraining

    sizes = {"hidden_size": d, "num_hidden_layers": n, "num_attention_heads": heads, "intermediate_size": ff}
    rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), dropout)
    return BertForPreTraining(BertConfig(vocab_size=vocab, max_position_embeddings=length, **sizes, **rates))


def marian(*, n: int, d: int, ff: int, heads: int, vocab: int, length: int, dropout: float) -> nn.Module:
    """Returns Hugging Face's Marian, with relu and scaled embeddings like the published models."""
    from transformers import MarianConfig, MarianMTModel

    sizes = {"layers": n, "attention_heads": heads, "ffn_dim": ff}
    stacks = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in sizes.items()}
    marks = {"pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 1, "forced_eos_token_id": None}
    rest = {"activation_function": "relu", "scale_embedding": True, "dropout": dropout}
    return MarianMTModel(
        MarianConfig(vocab_size=vocab, d_model=d, max_position_embeddings=length, **stacks, **marks, **rest)
    )


def compile_layers(lists: Iterable[nn.ModuleList]) -> None:
    """Compiles each layer of a model; layers of one class share what is compiled."""
    for layers in lists:
        for layer in layers:
            layer.compile()
