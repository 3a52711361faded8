"""What a language model minimizes: cross-entropy, smoothed and masked, by hand and by clearhead; and one mean of all.

Cross-entropy is -log of the probability that the model gives to the right piece; its gradient at the logits is
softmax(logits) - target. Label smoothing is that of Szegedy et al., 2016. Last, two batches of unequal size are
accumulated with ``train_step``: their gradient is compared with that of one batch, and that of a mean of means.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from clearhead.drawing.report import Curves, Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.loss import LossConfig, cross_entropy, linear_cross_entropy
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.training.step import train_step

LIMITS = {"vocab": (4, 4096), "smoothing": (0.0, 0.9), "long": (1, 512), "short": (1, 512)}
D_MODEL, PADDED = 16, -100  # the label at padding, which torch leaves out
CONFIDENT = [number / 200 for number in range(100, 200)]  # probabilities of the right piece


class Batch(NamedTuple):
    """Hidden states [rows, d_model], the id to predict from each, and how many these are."""

    x: Tensor
    targets: Tensor
    target_count: int


@dataclass(frozen=True)
class Values:
    """One loss, computed in three ways."""

    by_hand: float
    torch: float
    clearhead: float
    gradient: float
    """Largest difference of clearhead's gradient of the weights from the formula, as a share."""
    counted: float
    """The loss if padding counts as rows with a loss of 0."""


@dataclass(frozen=True)
class Losses:
    """What was measured."""

    vocab: int
    smoothing: float
    sizes: list[int]
    """Targets of the long and of the short batch."""
    values: dict[str, Values]
    """``plain``, ``smoothed``, and ``masked``: half of the rows are padding, which is left out."""
    curves: dict[str, list[float]]
    """The ``plain`` and the ``smoothed`` loss by the probability of the right piece, the others being alike."""
    apart: dict[str, float]
    """Distance of an accumulated gradient from that of one batch, as a share: ``one`` mean, and mean of ``means``."""


def run(*, vocab: int = 1000, smoothing: float = 0.1, long: int = 60, short: int = 4, seed: int = 0) -> Losses:
    """Computes losses of random states under a new output layer, and accumulates a long and a short batch."""
    torch.manual_seed(seed)
    head = nn.Linear(D_MODEL, vocab, bias=False)
    nn.init.normal_(head.weight, std=0.02)
    batches = [Batch(torch.randn(rows, D_MODEL), torch.randint(vocab, (rows,)), rows) for rows in (long, short)]
    x, targets, _ = batches[0]
    padded = torch.where(torch.arange(long) % 2 == 0, targets, PADDED)  # every other row
    cases = {"plain": (targets, 0.0), "smoothed": (targets, smoothing), "masked": (padded, 0.0)}
    values = {kind: compared(head.weight, x, *case) for kind, case in cases.items()}
    curves = {"plain": curve(vocab, 0.0), "smoothed": curve(vocab, smoothing)}

    x, targets = torch.cat([batch.x for batch in batches]), torch.cat([batch.targets for batch in batches])
    once, accumulated = accumulate(head, [Batch(x, targets, long + short)]), accumulate(head, batches)
    means = torch.stack([accumulate(head, [batch]) for batch in batches]).mean(0)
    apart = {kind: float((its - once).norm() / once.norm()) for kind, its in (("one", accumulated), ("means", means))}
    return Losses(vocab, smoothing, [long, short], values, curves, apart)


def compared(weight: Any, all_x: Tensor, labels: Tensor, smoothing: float) -> Values:
    """Computes a loss and its gradient by hand, and by torch and clearhead."""
    real = labels != PADDED
    x, targets, weight = all_x[real], labels[real], weight.detach().clone().requires_grad_()
    p = (x @ weight.detach().T).softmax(-1)
    wanted = smoothing / len(weight) + (1 - smoothing) * functional.one_hot(targets, len(weight))
    by_hand, gradient = -(wanted * p.log()).sum(-1).mean(), (p - wanted).T @ x / len(x)
    summed = functional.cross_entropy(all_x @ weight.T, labels, reduction="sum", label_smoothing=smoothing).item()
    total, count = linear_cross_entropy(x, weight, targets, LossConfig(label_smoothing=smoothing))
    (total / count).backward()
    apart = (weight.grad - gradient).abs().max() / gradient.abs().max()
    return Values(by_hand.item(), summed / len(x), (total / count).item(), apart.item(), summed / len(labels))


def curve(vocab: int, smoothing: float) -> list[float]:
    """Returns the loss of a model that gives the right piece p and shares the rest among all others, for each p."""
    p = torch.tensor(CONFIDENT)[:, None]
    logits = torch.cat([p, ((1 - p) / (vocab - 1)).expand(-1, vocab - 1)], dim=1).log()
    return [cross_entropy(row[None], torch.tensor([0]), label_smoothing=smoothing)[0].item() for row in logits]


def accumulate(head: Any, batches: list[Batch]) -> Any:
    """Returns the gradient of a step of clearhead on some batches; the rate is 0, so that no weight moves."""
    optimizers = build_optimizers(head, OptimConfig(name="sgd"), lr=0.0)

    def loss_of(batch: Batch) -> tuple[Tensor, int]:
        return linear_cross_entropy(batch.x, head.weight, batch.targets, LossConfig(label_smoothing=0.0))

    train_step(head, batches, loss_of, optimizers, grad_clip_norm=0.0)
    return head.weight.grad.clone()


def check(measured: Losses) -> Claims:
    """Returns whether each sentence of the answer holds."""
    values, (least, at) = measured.values, min(zip(measured.curves["smoothed"], CONFIDENT, strict=True))
    wanted = 1 - measured.smoothing + measured.smoothing / measured.vocab
    agree = [abs(its.by_hand - other) < 1e-4 for its in values.values() for other in (its.torch, its.clearhead)]
    return {
        "new": abs(values["plain"].clearhead - math.log(measured.vocab)) < 0.1,
        "by_hand": all(agree) and all(its.gradient < 1e-4 for its in values.values()),
        "smoothed": abs(at - wanted) < 0.006 and least > 0.3 and min(measured.curves["plain"]) < 0.01,
        "masked": values["masked"].counted < 0.6 * values["masked"].torch,
        "one": measured.apart["one"] < 1e-5,
        "means": measured.apart["means"] > 0.1 and measured.sizes[0] > 4 * measured.sizes[1],
    }


def facts(measured: Losses) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    plain, masked = measured.values["plain"], measured.values["masked"]
    least, at = min(zip(measured.curves["smoothed"], CONFIDENT, strict=True))
    losses = {"guess": plain.torch, "masked": masked.torch, "counted": masked.counted, "least": least}
    words = {"vocab": str(measured.vocab), "smoothing": f"{measured.smoothing:g}", "at": f"{at:.3g}"}
    words |= {"times": f"{measured.sizes[0] / measured.sizes[1]:.3g}", "off": f"{measured.apart['means']:.0%}"}
    return words | {name: f"{loss:.2f}" for name, loss in losses.items()}


def show(measured: Losses, say: Say) -> list[Part]:
    """Returns the losses in three ways, the curves by probability, and the gradients of accumulated batches."""
    rows = [
        (say(kind), *(f"{value:.4f}" for value in (its.by_hand, its.torch, its.clearhead)), f"{its.gradient:.0e}")
        for kind, its in measured.values.items()
    ]
    columns = (say("kind"), f">{say('hand')}", ">torch", ">clearhead", f">{say('gradient')}")
    curves = Curves(say("curve"), "p", CONFIDENT, {say(kind): losses for kind, losses in measured.curves.items()})
    gradients = [(say(kind), f"{distance:.1%}") for kind, distance in measured.apart.items()]
    names = (say("divided"), f">{say('apart')}")
    return [Table(say("table"), columns, rows), curves, Table(say("accumulated"), names, gradients)]
