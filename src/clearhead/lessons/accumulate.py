"""Gradients of several batches added up for one step, and the difference between a gradient of zeros and none.

Steps of clearhead on unequal batches are compared with steps on all rows at once, and with a loop that calls
``backward`` on the mean of each. The view ``memory`` says what that saves. Then AdamW steps once more, with gradients
that were set to zeros or to None: so it is for a layer that has no part in a batch.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Bars, Part, Table, amount
from clearhead.inspect.ledger import SAVED, memory
from clearhead.inspect.step.accumulation import gradient_of, idle_step
from clearhead.lessons.lesson import Claims, Say
from clearhead.loss import squared_error
from clearhead.nn.mlp import MLP
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.training.step import train_step

LIMITS = {"sizes": (1, 512), "lr": (1e-5, 0.1), "decay": (0.0, 1.0)}
D_MODEL, D_FF, SEQ = 16, 64, 8
STEPS = 3  # so that gradients of the step before would be seen


class Batch(NamedTuple):
    """Inputs and targets [rows, seq, d_model], and the number of targets."""

    x: Tensor
    targets: Tensor
    target_count: int


@dataclass(frozen=True)
class Accumulate:
    """What was measured."""

    sizes: list[int]
    weights: float
    """Largest difference of the weights after some steps of clearhead, batch by batch and all at once."""
    means: float
    """Distance of a mean of the gradients of means from the gradient of all rows, as a share."""
    twice: float
    """Size of the gradient after ``backward`` on the same rows twice, in gradients of once."""
    saved: dict[str, int]
    """Bytes of activations that autograd saves for ``all`` rows, and for the ``largest`` batch."""
    held: dict[str, int]
    """Bytes of the ``weights``, and of gradients that were set to ``zeros`` or to ``none``."""
    moved: dict[str, float]
    """Largest change of a weight by a step of AdamW with such gradients."""


def run(*, sizes: tuple[int, ...] = (1, 2, 5, 8), lr: float = 0.01, decay: float = 0.1, seed: int = 0) -> Accumulate:
    """Takes steps on batches of ``sizes`` rows, and a step without new gradients."""
    torch.manual_seed(seed)
    x = torch.randn(sum(sizes), SEQ, D_MODEL)
    targets = x.flip(-1) * torch.arange(1.0, len(x) + 1)[:, None, None]  # larger in later rows: batches differ
    parts = zip(x.split(sizes), targets.split(sizes), strict=True)
    batches = [Batch(rows, wanted, rows.numel()) for rows, wanted in parts]
    whole = Batch(x, targets, x.numel())

    together, apart = stepped([whole], lr, decay, seed), stepped(batches, lr, decay, seed)
    weights = max(float((mine - other).abs().max()) for mine, other in zip(together, apart, strict=True))
    once, summed, twice = gradient([whole], seed), gradient(batches, seed), gradient([whole, whole], seed)
    means = float((summed / len(batches) - once).norm() / once.norm())
    largest = max(batches, key=lambda batch: batch.target_count)
    saved = {name: memory(network(seed), its.x).entries[SAVED] for name, its in (("all", whole), ("largest", largest))}
    idle = {kind: idled(kind, lr, decay, seed) for kind in ("zeros", "none")}
    held = {"weights": sum(p.nbytes for p in together), **{kind: size for kind, (size, _) in idle.items()}}
    moved = {kind: change for kind, (_, change) in idle.items()}
    return Accumulate(list(sizes), weights, means, float(twice.norm() / once.norm()), saved, held, moved)


def network(seed: int) -> MLP:
    """Returns the same new feed-forward network for the same seed."""
    torch.manual_seed(seed)
    return MLP(D_MODEL, D_FF, activation=nn.GELU())


def stepped(batches: list[Batch], lr: float, decay: float, seed: int) -> list[Tensor]:
    """Returns the weights after some steps of clearhead, each on all the batches."""
    model = network(seed)
    optimizers = build_optimizers(model, OptimConfig(name="sgd", weight_decay=decay), lr)

    for _ in range(STEPS):
        train_step(model, batches, partial(loss_of, model), optimizers, grad_clip_norm=1.0)
    return [parameter.detach() for parameter in model.parameters()]


def loss_of(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Returns the sum of the squared errors of a batch, and how many there are."""
    return squared_error(model(batch.x), batch.targets)


def gradient(batches: list[Batch], seed: int) -> Tensor:
    """Returns the gradient after ``backward`` on the mean loss of each batch in turn, as a plain loop does."""
    return torch.cat([part.flatten() for part in gradient_of(network(seed), batches, loss_of).values()])


def idled(kind: str, lr: float, decay: float, seed: int) -> tuple[int, float]:
    """Steps with AdamW, drops the gradients in one of two ways and steps again; returns their bytes, and what moved."""
    model = network(seed)
    optimizers = build_optimizers(model, OptimConfig(weight_decay=decay), lr)
    model(torch.randn(2, SEQ, D_MODEL)).square().mean().backward()
    optimizers.step()
    if kind == "none":
        optimizers.zero_grad()
    else:
        optimizers.parts[0].zero_grad(set_to_none=False)
    return idle_step(model, optimizers.step)


def check(measured: Accumulate) -> Claims:
    """Returns whether each sentence of the answer holds."""
    rows, held, moved = measured.sizes, measured.held, measured.moved
    share = measured.saved["largest"] / measured.saved["all"]
    return {
        "adds": abs(measured.twice - 2) < 1e-3,
        "same": measured.weights < 1e-5,
        "means": measured.means > 0.05 and len(set(rows)) > 1,
        "memory": abs(share - max(rows) / sum(rows)) < 0.02 and share < 0.9,
        "zeros": moved["zeros"] > 1e-4 and held["zeros"] == held["weights"],
        "none": moved["none"] == 0.0 and held["none"] == 0,
    }


def facts(measured: Accumulate) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    words = {"rows": " + ".join(map(str, measured.sizes)), "means": f"{measured.means:.0%}"}
    words |= {"most": str(max(measured.sizes)), **{name: amount(size) for name, size in measured.saved.items()}}
    words |= {"twice": f"{measured.twice:.2f}", "bytes": amount(measured.held["zeros"])}
    return {"guess": f"{measured.moved['zeros']:.4f}", **words}


def show(measured: Accumulate, say: Say) -> list[Part]:
    """Returns what accumulated gradients differ by, what memory they need, and what an idle layer does."""
    rows = [(say("steps"), f"{measured.weights:.0e}"), (say("means_row"), f"{measured.means:.0%}")]
    sizes = {say(name): float(size) for name, size in measured.saved.items()}
    bars = Bars(say("saved"), sizes, tuple(map(amount, measured.saved.values())))
    idle = [(say(kind), amount(measured.held[kind]), f"{change:.4f}") for kind, change in measured.moved.items()]
    names = (say("gradient"), f">{say('bytes')}", f">{say('moved')}")
    return [Table(say("table"), (say("what"), f">{say('apart')}"), rows), bars, Table(say("idle"), names, idle)]
