"""What positions are for, what four kinds of them look like, and what happens beyond the trained length.

Attention alone sees a set of pieces, not their order. Sinusoids (Vaswani et al., 2017, section 3.5) and learned vectors
are added to the embeddings, a rotation turns queries and keys (Su et al., 2021, arXiv:2104.09864), and ALiBi takes
something off the scores (Press et al., 2021, arXiv:2108.12409).
"""

from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from clearhead.drawing.report import Curves, Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.position import PositionName, build_position, build_rotary, build_score_bias
from clearhead.progress import Progress, silent

LIMITS = {"length": (8, 32), "steps": (1, 500)}
SHORT = {"steps": 65}
KINDS: tuple[PositionName, ...] = get_args(PositionName)
D_MODEL, N_HEADS, VOCAB, REACH = 32, 4, 16, 32  # REACH: distances that are drawn
SIZES: dict[str, Any] = {"d_model": D_MODEL, "d_ff": 2 * D_MODEL, "n_heads": N_HEADS, "dropout": 0.0}


@dataclass(frozen=True)
class Positions:
    """What was measured; by kind of positions."""

    moved: dict[str, float]
    """How far an encoder's outputs are from the ones before, put in the new order, when the pieces change places."""
    causal: float
    """The same of a GPT without positions."""
    curves: dict[str, list[float]]
    """What a kind says of two positions, by their distance: a product of vectors, or what is added to a score."""
    shifted: dict[str, float]
    """How far the curve moves when both positions are 20 further on."""
    hits: dict[str, list[float]]
    """Share of pieces that are told right: within the trained length, up to twice as far, and from three times on."""


def run(*, length: int = 16, steps: int = 120, seed: int = 0, progress: Progress = silent) -> Positions:
    """Permutes pieces, draws positions, and trains a GPT with each kind to name the piece before."""
    torch.manual_seed(seed)
    tables: dict[str, Tensor] = {name: matrix(name, 2 * REACH) for name in KINDS if name != "none"}
    curves = {name: curve(table, 0) for name, table in tables.items()}
    shifts = {name: zip(curve(table, 20), curves[name], strict=True) for name, table in tables.items()}
    encoders: dict[str, torch.nn.Module] = {
        name: Transformer(TransformerConfig(position=name, **SIZES), src_vocab_size=VOCAB, vocab_size=VOCAB).encoder
        for name in KINDS
    }
    moved = {name: permuted(encoder, length) for name, encoder in encoders.items()}
    causal = permuted(GPT(GPTConfig(position="none", n_layers=2, **SIZES), vocab_size=VOCAB), length)
    hits = dict[str, list[float]]()
    for number, name in enumerate(KINDS):
        hits[name] = beyond(name, length, steps, seed)
        progress(number + 1, len(KINDS))
    shifted = {name: max(abs(there - here) for there, here in pairs) for name, pairs in shifts.items()}
    return Positions(moved, causal, curves, shifted, hits)


@torch.no_grad()
def permuted(model: torch.nn.Module, length: int) -> float:
    """Returns how far outputs of pieces in reverse order are from the reverse of the outputs."""
    ids = torch.randint(1, VOCAB, (1, length))
    return float((model.eval()(ids.flip(1)) - model(ids).flip(1)).abs().max())


@torch.no_grad()
def matrix(name: PositionName, size: int) -> Tensor:
    """Returns what a kind says of each pair of positions: products of vectors, 1 for a position with itself."""
    added, turns, bias = (
        build_position(name, size, D_MODEL),
        build_rotary(name, D_MODEL, size),
        build_score_bias(name, N_HEADS),
    )
    if bias is not None:
        return bias(size, size)[0]
    if turns is not None:
        vectors = turns(torch.ones(1, 1, size, D_MODEL))[0, 0]
    else:
        assert added is not None
        vectors = added(torch.arange(size)[None])[0]
    return vectors @ vectors.T / vectors.square().sum(-1).mean()


def curve(table: Tensor, start: int) -> list[float]:
    """Returns the numbers of one position and those before it, by their distance."""
    at = start + REACH - 1
    return table[at, start : at + 1].flip(0).tolist()


def beyond(name: PositionName, length: int, steps: int, seed: int) -> list[float]:
    """Trains a GPT on texts of one length to name the piece before each; returns how often it is right, by place."""
    torch.manual_seed(seed)
    model = GPT(GPTConfig(position=name, n_layers=1, max_seq_len=4 * length, **SIZES), vocab_size=VOCAB)
    if name == "sinusoidal":
        model.embedding.scale = 50.0  # rows of 0.02 would drown in sines of 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(steps):
        ids = torch.randint(VOCAB, (8, length))
        loss = cross_entropy(model(ids)[:, 1:].flatten(0, 1), ids[:, :-1].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        ids = torch.randint(VOCAB, (64, 4 * length))
        right = (model(ids).argmax(-1)[:, 1:] == ids[:, :-1]).float().mean(0)
    return [float(part.mean()) for part in (right[: length - 1], right[length - 1 : 2 * length], right[3 * length :])]


def check(measured: Positions) -> Claims:
    """Returns whether each sentence of the answer holds."""
    moved, hits, shifted = measured.moved, measured.hits, measured.shifted
    pairs = zip(measured.curves["sinusoidal"], measured.curves["rotary"], strict=True)
    return {
        "order": moved["none"] < 1e-4 and all(value > 1e-2 for name, value in moved.items() if name != "none"),
        "causal": measured.causal > 1e-3,
        "distance": all(shifted[name] < 1e-4 for name in ("sinusoidal", "rotary", "alibi"))
        and shifted["learned"] > 0.1,
        "turn": all(abs(added - turned) < 1e-4 for added, turned in pairs) and measured.curves["rotary"][4] < 0.9,
        "learned": hits["learned"][0] > 0.8 and hits["learned"][1] < 0.3,
        "rotary": hits["rotary"][1] > 0.6 and hits["rotary"][2] < 0.4,
        "alibi": hits["alibi"][2] > 0.3 and hits["alibi"][2] > hits["alibi"][0] - 0.25,
    }


def facts(measured: Positions) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    shares = {
        f"{name}_{at}": f"{measured.hits[name][at]:.0%}" for name in ("learned", "rotary", "alibi") for at in range(3)
    }
    used = ("learned_0", "learned_1", "rotary_1", "rotary_2", "alibi_0", "alibi_2")
    return {"guess": shares["learned_1"], **{name: shares[name] for name in used}}


def show(measured: Positions, say: Say) -> list[Part]:
    """Returns what a new order changes, the curves, and how far each kind reaches."""
    rows = [(name, f"{value:.1e}") for name, value in measured.moved.items()]
    rows.append((say("causal"), f"{measured.causal:.1e}"))
    columns = tuple(f">{say(name)}" for name in ("inside", "twice", "far"))
    hits = [(name, *(f"{share:.0%}" for share in shares)) for name, shares in measured.hits.items()]
    return [
        Table(say("moved"), (say("kind"), f">{say('difference')}"), rows),
        Curves(say("curve"), say("distance"), [float(at) for at in range(REACH)], measured.curves),
        Table(say("hits"), (say("kind"), *columns), hits),
    ]
