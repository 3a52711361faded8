"""A view of one's own: how far back each attention head looks, read from the one tap of every attention.

    python examples/own_view.py                     # an untrained GPT whose heads differ by ALiBi alone
    python examples/own_view.py RUN "Some text."    # a language model that you trained

A view is a frozen dataclass of plain values with parts to draw. The rest is inherited: ``lines`` for a terminal,
``as_dict`` for JSON, a page, a picture, and how it is shown as the last line of a notebook's cell.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import clearhead
from clearhead.drawing.page import save_page
from clearhead.drawing.report import Bars, Note
from clearhead.nn.attention import Attention
from clearhead.types import GPT, GPTConfig, Part, View


@dataclass(frozen=True)
class ReachView(View):
    """How many positions back each head looks, on average over the queries."""

    reach: dict[str, list[float]]  # by attention module, a number for each head

    @property
    def title(self) -> str:
        """What the view shows, in a few words."""
        return "reach of the attention heads"

    def parts(self) -> list[Part]:
        """A bar for each head, and what to see first."""
        heads = {f"{name} head {head}": back for name, backs in self.reach.items() for head, back in enumerate(backs)}
        farthest = max(heads, key=lambda head: heads[head])
        bars = Bars("positions back, on average", heads, tuple(f"{back:.1f}" for back in heads.values()))
        return [bars, Note(f"{farthest} looks the farthest back: {heads[farthest]:.1f} positions", marked=True)]


def reach(model: nn.Module, read: Callable[[], object]) -> ReachView:
    """Measures the reach of each head of causal self-attention while ``read`` calls the model."""
    seen: dict[str, list[float]] = {}

    def look(name: str, tap: nn.Module, args: tuple[Tensor], weights: Tensor) -> None:
        """Receives the weights [batch, heads, queries, keys], which are made only where somebody looks."""
        queries, keys = weights.shape[-2:]
        back = torch.arange(queries)[:, None] - torch.arange(keys)  # queries keys
        seen[name] = (weights * back.to(weights)).sum(-1).mean((0, 2)).tolist()

    taps = {name: module.core.tap for name, module in model.named_modules() if isinstance(module, Attention)}
    handles = [tap.register_forward_hook(partial(look, name)) for name, tap in taps.items()]
    try:
        with torch.no_grad():
            read()
    finally:
        for handle in handles:
            handle.remove()
    return ReachView(seen)


def main(run: str = "", text: str = "", page: str = "reach.html") -> None:
    """Shows the view of a run's model, or of an untrained one, and writes it as a page."""
    if run:
        writer = clearhead.LanguageModel.load(run)
        view = reach(writer.model, lambda: writer.log_probs(text))
    else:
        torch.manual_seed(0)
        model = GPT(GPTConfig(d_model=64, d_ff=128, n_heads=8, n_layers=1, position="alibi"), vocab_size=100).eval()
        view = reach(model, lambda: model(torch.randint(100, (4, 64))))
    save_page(view, Path(page))
    print(*view.lines(80), f"\nwritten to {page}", sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:4])
