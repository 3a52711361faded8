"""Rank collapse: attention alone makes all positions alike, and what keeps them apart.

Each output of attention is a weighted average of values, and averages of averages come together: without skips and MLPs
the states approach a matrix of rank 1 doubly exponentially with depth (Dong et al., 2021, arXiv:2103.03404). The
distances are those of ``clearhead inspect RUN rank``: 0 where all positions have the same state.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from clearhead.drawing.report import Curves, Part, Table
from clearhead.inspect.call import call
from clearhead.inspect.ranks import RankView, rank
from clearhead.lessons.lesson import Claims, Say
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.verbs.look.opened import Opened

TASKS = ("translation",)
LIMITS = {"depth": (2, 8), "pieces": (4, 64), "d_model": (16, 256)}
SENTENCE, VOCAB, N_HEADS = "我吃了一个苹果。", 100, 4
LEAST = 1e-8  # below it float32 tells no difference; the curve stops there
Distances = dict[str, list[float | None]]
"""By what is switched off: of the input, then of the output of each layer; None: not finite."""


@dataclass(frozen=True)
class Rank:
    """What was measured."""

    random: Distances
    """Of an encoder with random weights."""
    trained: dict[str, Distances]
    """Of each stack of a trained model."""


def run(*, trained: Path, depth: int = 6, pieces: int = 24, d_model: int = 64, seed: int = 0) -> Rank:
    """Looks at the layers of a random encoder and of a trained translator, with parts switched off."""
    torch.manual_seed(seed)
    size = d_model // N_HEADS * N_HEADS
    config = TransformerConfig(d_model=size, d_ff=2 * size, n_heads=N_HEADS, n_encoder_layers=depth, dropout=0.0)
    encoder = Transformer(config, src_vocab_size=VOCAB, vocab_size=VOCAB).encoder
    ids = torch.randint(1, VOCAB, (1, pieces))
    opened = Opened.open(trained, SENTENCE, checkpoint="best", device="cpu")
    inputs = opened.inputs  # translates the sentence, which the view should not see
    whole = rank(opened.model, lambda: call(opened.model, inputs))
    stacks = {name: by_variant(whole, name) for name in whole.pieces}
    return Rank(by_variant(rank(encoder, lambda: encoder(ids)), "layers"), stacks)


def by_variant(view: RankView, stack: str) -> Distances:
    """Returns the distances in one stack."""
    return {curve.variant.replace(" ", "_"): curve.distances for curve in view.curves if curve.stack == stack}


def last(distances: list[float | None]) -> float:
    """Returns the distance after the last layer, NaN if it is not finite: then no claim about it holds."""
    return math.nan if distances[-1] is None else distances[-1]


def falls(distances: list[float | None]) -> list[float]:
    """Returns by which factor each of the first three layers changes the distance."""
    known = [math.nan if distance is None else distance for distance in distances[:4]]
    return [after / before if before else math.nan for before, after in pairwise(known)]


def check(measured: Rank) -> Claims:
    """Returns whether each sentence of the answer holds."""
    ends = {variant: last(distances) for variant, distances in measured.random.items()}
    factors = falls(measured.random["attention_alone"])
    stacks = measured.trained.values()
    return {
        "alone": ends["attention_alone"] < 1e-4,
        "faster": len(factors) == 3 and factors[0] > 2 * factors[1] > 4 * factors[2],
        "skip": ends["as_trained"] > 0.15 and ends["no_MLP"] > 0.15,
        "mlp": ends["no_skip"] < 1e-3,
        "trained": all(last(stack["as_trained"]) > 0.5 for stack in stacks),
        "still": all(last(stack["attention_alone"]) < 0.7 * last(stack["as_trained"]) for stack in stacks),
    }


def facts(measured: Rank) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    random, stacks = measured.random, measured.trained
    pairs = {"alone": "attention_alone", "whole": "as_trained", "no_mlp": "no_MLP", "no_skip": "no_skip"}
    ends = {name: f"{last(random[variant]):.2g}" for name, variant in pairs.items()}
    least = min(stacks, key=lambda name: last(stacks[name]["attention_alone"]))
    apart = {
        name: f"{last(stacks[least][variant]):.2g}"
        for name, variant in (("kept", "as_trained"), ("left", "attention_alone"))
    }
    factors = ", ".join(f"{factor:.2g}" for factor in falls(random["attention_alone"]))
    return {"guess": ends["alone"], "depth": str(len(random["no_skip"]) - 1), **ends, "factors": factors, **apart}


def table(title: str, distances: Distances, say: Say) -> Table:
    """Returns a row for each part that is switched off."""
    depth = range(len(distances["as_trained"]))
    rows = [
        (say(variant), *("overflow" if its is None else f"{its:.2g}" for its in row))
        for variant, row in distances.items()
    ]
    return Table(title, (say("layer"), *(f">{layer}" for layer in depth)), rows)


def show(measured: Rank, say: Say) -> list[Part]:
    """Returns curves and a table of the random encoder, and a table of each stack of the trained model."""
    logs = {
        say(variant): [math.log10(max(its or LEAST, LEAST)) for its in row]
        for variant, row in measured.random.items()
        if None not in row
    }
    depth = [float(layer) for layer in range(len(measured.random["as_trained"]))]
    parts: list[Part] = [Curves(say("curve"), say("layer"), depth, logs), table(say("random"), measured.random, say)]
    return parts + [table(f"{say('trained')}: {name}", its, say) for name, its in measured.trained.items()]
