"""A norm of one's own in the layers of a GPT: x divided by its p-norm, of which RMS norm is the case p = 2.

    python examples/own_norm.py

p = 1 divides by the mean absolute value (after Hoffer et al. 2018, arXiv:1803.01814), p = infinity by the largest.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

import clearhead
from clearhead.data.demo_corpus import demo_pairs
from clearhead.nn.norm import Norm, RMSNorm
from clearhead.types import GPT, GPTConfig, Tokenizer, TokenizerConfig

D_MODEL, CONTEXT, ROWS = 64, 24, 32


class PowerNorm(Norm):
    """x / (mean |x|^p)^(1/p) * gamma, over the features of each position; gamma, and a beta, come from ``Norm``."""

    def __init__(self, d_model: int, *, p: float, eps: float = 1e-5) -> None:
        super().__init__(d_model, eps=eps, bias=False)
        self.p = p

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalizes [batch, seq, d_model]; only norms with statistics over positions need the ``mask`` of padding."""
        features = 1 if math.isinf(self.p) else self.d_model  # the largest of |x| is no mean
        size = torch.linalg.vector_norm(x, self.p, dim=-1, keepdim=True) / features ** (1 / self.p)
        return self.affine(x / (size + self.eps))


def replace_norms(model: GPT, p: float) -> None:
    """Puts the new norm where each layer, and the end of the stack, has its norm."""
    for layer in model.layers:
        layer.attn_norm, layer.mlp_norm = PowerNorm(D_MODEL, p=p), PowerNorm(D_MODEL, p=p)
    model.norm = PowerNorm(D_MODEL, p=p)


def train(model: nn.Module, stream: Tensor, steps: int) -> Iterable[float]:
    """Takes ``steps`` steps on random windows of ``stream``; yields the losses, in nats a character."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        starts = torch.randint(len(stream) - CONTEXT - 1, (ROWS, 1))
        windows = stream[starts + torch.arange(CONTEXT + 1)]
        loss = functional.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def main(steps: int = 100, powers: Iterable[float] = (1, 2, math.inf)) -> None:
    """Compares p = 2 with RMS norm, trains a model for each p, and looks into the norms of the last."""
    x = torch.randn(2, 5, D_MODEL)
    difference = PowerNorm(D_MODEL, p=2)(x) - RMSNorm(D_MODEL, eps=1e-5)(x)
    print(f"p = 2 and RMS norm: at most {difference.abs().max():.0e} apart\n")

    lines = [english for _, english in demo_pairs(2000, seed=0)]
    tokenizer = Tokenizer.train(lines, TokenizerConfig(kind="char"))
    stream = torch.tensor([piece for ids in tokenizer.encode_batch(lines) for piece in (tokenizer.begin, *ids)])
    print("nats a character at step" + "".join(f"{step:>7}" for step in range(steps // 5, steps + 1, steps // 5)))
    for p in powers:
        torch.manual_seed(0)  # the same weights and windows for each
        config = GPTConfig(d_model=D_MODEL, d_ff=256, n_heads=4, n_layers=2, max_seq_len=CONTEXT, dropout=0.0)
        model = GPT(config, vocab_size=tokenizer.vocab_size)
        replace_norms(model, p)
        losses = list(train(model, stream, steps))
        print(f"{f'p = {p:g}':>24}" + "".join(f"{loss:7.2f}" for loss in losses[steps // 5 - 1 :: steps // 5]))

    view = clearhead.inspect.norm(model, lambda: model(stream[None, :CONTEXT]))
    print("", *view.lines(80)[:9], sep="\n")


if __name__ == "__main__":
    main()
