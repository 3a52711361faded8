"""Why the scores of dot-product attention are divided by the square root of d_k.

Queries and keys of independent numbers of variance 1 are drawn, as they are where training begins, and the scores of a
query with some keys are looked at with and without the division (Vaswani et al., 2017, section 3.2.1), and by additive
attention. Then one head learns to find the key that a query is like, at a small and at a large d_k.
"""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from clearhead.drawing.report import Curves, Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.nn.attention import Additive, AttentionCore, CrossAttention, ScaledDotProduct
from clearhead.progress import Progress, silent

LIMITS = {"d_k": (1, 4096), "keys": (2, 1024), "steps": (1, 2000)}
SHORT = {"steps": 60}
QUERIES, SMALL, LARGE = 256, 8, 128  # queries whose scores are looked at; d_k of the heads that are trained


@dataclass(frozen=True)
class Scores:
    """Scores of one kind at some ``d_k``."""

    variance: float
    entropy: float
    """Of the softmax, in nats, the mean over queries."""
    gradient: float
    """Mean derivative of a weight by its own score."""


@dataclass(frozen=True)
class Scale:
    """What was measured."""

    d_k: list[int]
    keys: int
    scores: dict[str, list[Scores]]
    """By kind, for each ``d_k``: those of clearhead's attention are ``scaled`` and ``additive``."""
    losses: dict[str, list[float]]
    """Of training, a step after the other, by kind and ``d_k``."""


class Undivided(ScaledDotProduct):
    """Dot-product attention without the division: queries are made larger by what is divided by."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, **more: Any) -> Tensor:
        """See ``ScaledDotProduct``."""
        return super().forward(q * math.sqrt(q.shape[-1]), k, v, **more)


def cores(d_k: int) -> dict[str, AttentionCore]:
    """Returns attention of each kind for one head."""
    return {"scaled": ScaledDotProduct(), "bare": Undivided(), "additive": Additive(1, d_k)}


def run(
    *, d_k: tuple[int, ...] = (8, 64, 512), keys: int = 64, steps: int = 120, seed: int = 0, progress: Progress = silent
) -> Scale:
    """Measures scores of random queries and keys for each ``d_k``, and trains a head of each kind."""
    torch.manual_seed(seed)
    scores: dict[str, list[Scores]] = {}
    for size in d_k:
        q, k = torch.randn(QUERIES, 1, 1, size), torch.randn(QUERIES, 1, keys, size)
        for kind, core in cores(size).items():
            scores.setdefault(kind, []).append(looked_at(core, q, k))
    losses = {}
    for number, (kind, size) in enumerate([(kind, size) for size in (SMALL, LARGE) for kind in cores(1)]):
        progress(number, 6)
        losses[f"{kind} {size}"] = learned(cores(size)[kind], size, steps, seed)
    return Scale(list(d_k), keys, scores, losses)


@torch.no_grad()
def looked_at(core: AttentionCore, q: Tensor, k: Tensor) -> Scores:
    """Returns what is measured of the scores that a core gives queries and keys, from the weights at its tap."""
    seen: list[Tensor] = []
    core.tap.register_forward_hook(lambda module, inputs, output: seen.append(output))
    core.double()(q.double(), k.double(), k.double())  # weights of 1e-60 count
    weights = seen[0][:, 0, 0]  # queries keys
    scores = weights.clamp_min(1e-300).log()  # up to a constant for each query
    variance = (scores - scores.mean(-1, keepdim=True)).square().sum() / (scores.numel() - len(scores))
    entropy = torch.special.entr(weights).sum(-1).mean()
    return Scores(float(variance), float(entropy), float((weights * (1 - weights)).mean()))


def learned(core: AttentionCore, d_k: int, steps: int, seed: int) -> list[float]:
    """Trains one head to give back the key that a noisy query is like; returns the loss of each step."""
    torch.manual_seed(seed)
    head = CrossAttention(d_k, n_heads=1, core=core, bias=False)
    optimizer, losses = torch.optim.Adam(head.parameters(), lr=3e-3), []
    for _ in range(steps):
        memory, which = torch.randn(32, 8, d_k), torch.randint(8, (32, 1, 1))
        wanted = memory.take_along_dim(which, dim=1)
        given = head(wanted + 0.3 * torch.randn_like(wanted), head.keys_values(memory))
        loss = (given - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def check(measured: Scale) -> Claims:
    """Returns whether each sentence of the answer holds; some need a ``d_k`` of at least 256."""
    bare, scaled, additive = (measured.scores[kind] for kind in ("bare", "scaled", "additive"))
    at, most = measured.d_k.index(max(measured.d_k)), math.log(measured.keys)
    large = measured.d_k[at] >= 256
    loss = {name: fmean(losses[-10:]) for name, losses in measured.losses.items()}
    return {
        "variance": all(abs(s.variance / size - 1) < 0.2 for s, size in zip(bare, measured.d_k, strict=True)),
        "divided": all(abs(s.variance - 1) < 0.2 for s in scaled),
        "saturates": large and bare[at].entropy < 0.2 * most,
        "open": all(s.entropy > 0.75 * most for s in scaled),
        "gradient": large and bare[at].gradient < 0.5 * scaled[at].gradient,
        "learns": loss[f"scaled {LARGE}"] < 0.8 * loss[f"bare {LARGE}"],
        "small": abs(loss[f"scaled {SMALL}"] - loss[f"bare {SMALL}"]) < 0.2,
        "additive": all(s.variance < 1 for s in additive) and loss[f"additive {LARGE}"] > loss[f"scaled {LARGE}"],
    }


def facts(measured: Scale) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    at = measured.d_k.index(max(measured.d_k))
    bare, scaled, additive = (measured.scores[kind][at] for kind in ("bare", "scaled", "additive"))
    numbers = {"d_k": measured.d_k[at], "steps": len(measured.losses[f"bare {LARGE}"]), "large": LARGE, "small": SMALL}
    values = {"most": math.log(measured.keys), "bare": bare.entropy, "scaled": scaled.entropy}
    values |= {"times": scaled.gradient / max(bare.gradient, 1e-12), "additive": additive.variance}
    values |= {name.replace(" ", "_"): fmean(losses[-10:]) for name, losses in measured.losses.items()}
    del values[f"additive_{SMALL}"]
    texts = {name: f"{value:.2f}" for name, value in values.items()} | {name: str(n) for name, n in numbers.items()}
    return texts | {"guess": f"{bare.variance:.0f}", "variance": f"{bare.variance:.0f}"}


def show(measured: Scale, say: Say) -> list[Part]:
    """Returns a table with a row for each ``d_k`` and kind, and curves of the training."""
    columns = ("d_k", say("scores"), f">{say('variance')}", f">{say('entropy')}", f">{say('gradient')}")
    rows = [
        (str(size), say(kind), *(f"{each:.3g}" for each in (s[at].variance, s[at].entropy, s[at].gradient)))
        for at, size in enumerate(measured.d_k)
        for kind, s in measured.scores.items()
    ]
    steps = [float(step) for step in range(1, len(measured.losses[f"bare {LARGE}"]) + 1)]
    training = {f"{say(name.split()[0])}, {name.split()[1]}": losses for name, losses in measured.losses.items()}
    return [Table(say("table"), columns, rows), Curves(say("training"), say("step"), steps, training)]
