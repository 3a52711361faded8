"""What the two masks of attention do, how a score is masked, and what becomes of a row that may see nothing.

The causal mask (the sequence mask of the notes) hides what comes later, so that all positions can be trained at once
(Vaswani et al., 2017, section 3.2.3); the padding mask hides what fills up a batch. Whether a mask is tight is tested
by changing what it hides and comparing outputs bit by bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from clearhead.drawing.report import Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.meter.watch import watching
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.mask import additive_mask

LIMITS = {"length": (2, 12), "d_model": (8, 256)}
VOCAB, FINITE = 50, -1e4
Hide = Callable[[Tensor, Tensor], Tensor]
WAYS: dict[str, Hide] = {  # two of them change scores, one changes weights
    "infinite": lambda scores, mask: (scores + additive_mask(mask)).softmax(-1),
    "finite": lambda scores, mask: (scores + FINITE * ~mask).softmax(-1),
    "after": lambda scores, mask: scores.softmax(-1) * mask,
}


@dataclass(frozen=True)
class Way:
    """One way to hide keys, for a query that may see half of them, and for one that may see none."""

    total: float
    """Sum of the weights."""
    moved: float
    """How far the output moves when the hidden keys and values are others."""
    nothing: float | None
    """Sum of the weights where all keys are hidden; None if it is no number."""
    ignored: bool
    """Whether those are the weights without any mask."""


@dataclass(frozen=True)
class Masks:
    """What was measured."""

    causal: list[list[bool]]
    """[piece that was changed][output that changed], of a GPT."""
    encoder: list[list[bool]]
    """The same of an encoder, which has no causal mask."""
    padded: dict[str, float]
    """How far outputs are from those without padding: with the mask, with it and other padding, without it."""
    ways: dict[str, Way]
    fused: float
    """Largest output of PyTorch's fused attention for a query that may see nothing."""
    in_front_finite: bool
    """Whether the outputs of a GPT are finite when padding stands in front of the text."""


@torch.no_grad()
def run(*, length: int = 8, d_model: int = 32, seed: int = 0) -> Masks:
    """Tests masks on small models with random weights."""
    torch.manual_seed(seed)
    size = d_model // 4 * 4
    sizes: dict[str, Any] = {"d_model": size, "d_ff": 2 * size, "n_heads": 4, "max_seq_len": 2 * length, "dropout": 0.0}
    gpt = GPT(GPTConfig(**sizes, n_layers=2), vocab_size=VOCAB).eval()
    encoder = Transformer(TransformerConfig(**sizes), src_vocab_size=VOCAB, vocab_size=VOCAB).eval().encoder
    ids, padding, other = torch.randint(1, VOCAB, (3, 1, length))
    real = torch.arange(2 * length)[None] < length
    alone = encoder(ids)
    padded, filled = (encoder(torch.cat([ids, fill], 1), real)[:, :length] for fill in (padding, other))
    unmasked, q = encoder(torch.cat([ids, padding], 1))[:, :length], torch.randn(1, 1, 1, size)
    with watching({"weights": gpt.layers[0].get_submodule("attn.core.tap")}):  # so that it takes no fused kernel
        in_front = gpt(torch.cat([padding, ids], 1), mask=real.flip(1))
    return Masks(
        causal=changed(gpt, ids),
        encoder=changed(encoder, ids),
        padded={"padded": apart(padded, alone), "filled": apart(filled, alone), "unmasked": apart(unmasked, alone)},
        ways={name: tried(hide, size, length) for name, hide in WAYS.items()},
        fused=float(scaled_dot_product_attention(q, q, q, attn_mask=torch.zeros(1, 1, dtype=torch.bool)).abs().max()),
        in_front_finite=bool(in_front.isfinite().all()),
    )


def changed(model: Callable[[Tensor], Tensor], ids: Tensor) -> list[list[bool]]:
    """Changes one piece after another; returns at which positions the output is not the same to the bit."""
    before, rows = model(ids), []
    for at in range(ids.shape[1]):
        others = ids.clone()
        others[:, at] = ids[:, at] % (VOCAB - 1) + 1
        rows.append((model(others) != before)[0].any(-1).tolist())
    return rows


def apart(left: Tensor, right: Tensor) -> float:
    """Returns the largest difference."""
    return float((left - right).abs().max())


def tried(hide: Hide, size: int, length: int) -> Way:
    """Lets a query see the first half of the keys, then none; the other hidden keys are all just what it asks for."""
    q, k, v = torch.randn(size), torch.randn(2 * length, size), torch.randn(2 * length, size)
    sees, none = torch.arange(2 * length) < length, torch.zeros(2 * length, dtype=torch.bool)
    scores, others = (keys @ q / size**0.5 for keys in (k, torch.where(sees[:, None], k, q)))
    weights, blind = hide(scores, sees), hide(scores, none)
    moved = apart(weights @ v, hide(others, sees) @ torch.where(sees[:, None], v, -v))
    nothing = float(blind.sum()) if blind.isfinite().all() else None
    return Way(float(weights.sum()), moved, nothing, torch.allclose(blind, scores.softmax(-1), atol=1e-3))


def check(measured: Masks) -> Claims:
    """Returns whether each sentence of the answer holds."""
    padded, ways, places = measured.padded, measured.ways, range(len(measured.causal))
    infinite, finite, after = ways["infinite"], ways["finite"], ways["after"]
    return {
        "causal": all(measured.causal[at][seen] == (seen >= at) for at in places for seen in places),
        "encoder": all(map(all, measured.encoder)),
        "padding": max(padded["padded"], padded["filled"]) < 1e-5 and padded["unmasked"] > 0.03,
        "before": infinite.moved == finite.moved == 0 and abs(infinite.total - 1) < 1e-5 > abs(finite.total - 1),
        "after": after.moved > 0.03 and after.total < 0.95,
        "nothing": infinite.nothing is None and finite.ignored and after.nothing == 0 and measured.fused == 0,
        "here": measured.in_front_finite,
    }


def facts(measured: Masks) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    last, after = sum(measured.causal[-1]), measured.ways["after"]
    numbers = {"unmasked": measured.padded["unmasked"], "total": after.total, "moved": after.moved}
    return {"guess": str(last), **{name: f"{number:.2f}" for name, number in numbers.items()}}


def show(measured: Masks, say: Say) -> list[Part]:
    """Returns which outputs a changed piece reaches, what padding does, and a row for each way to hide keys."""
    parts: list[Part] = []
    for name, rows in (("causal", measured.causal), ("encoder", measured.encoder)):
        cells = [(str(at + 1), *("x" if moved else "" for moved in row)) for at, row in enumerate(rows)]
        parts.append(Table(say(name), (say("piece"), *(f">{cell[0]}" for cell in cells)), cells))
    far = [(say(name), f"{value:.1e}") for name, value in measured.padded.items()]
    parts.append(Table(say("padding"), ("", f">{say('far')}"), far))
    ways = measured.ways.items()
    blind = ["NaN" if way.nothing is None else f"{way.nothing:.3f}" for _, way in ways]
    lines = [
        (say(name), f"{way.total:.3f}", f"{way.moved:.3f}", its) for (name, way), its in zip(ways, blind, strict=True)
    ]
    return [*parts, Table(say("ways"), ("", *(f">{say(name)}" for name in ("total", "moved", "nothing"))), lines)]
