"""Why attention is split into heads: a head gives one weighted average, and several heads give several.

Each position has to fetch a part of its output from each of four other positions. One softmax can only mix the four:
with h < 4 heads a share of 1 - h/4 of the target stays unexplained, whatever is learned; four heads can fetch all
(Vaswani et al., 2017, section 3.2.2). Then each head of a trained translator is switched off in turn (Michel et al.,
2019, arXiv:1905.10650).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clearhead.drawing.report import Curves, Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.meter.flops import FlopCount
from clearhead.nn.attention import SelfAttention
from clearhead.progress import Progress, silent
from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.reading import attention_of

TASKS = ("translation",)
LIMITS = {"steps": (20, 500), "repeats": (1, 5)}
SHORT = {"steps": 110, "repeats": 1}
HEADS, D_MODEL, ROWS, SEQ, THINGS, PART = (1, 2, 4, 8), 32, 8, 16, 4, 4
SENTENCE = "我吃了一个苹果。"


@dataclass(frozen=True)
class Learned:
    """Attention with some number of heads, trained once for each seed."""

    parameters: int
    flops: int
    curve: list[float]
    """Loss at each step, the mean over the seeds."""
    lowest: float
    """Loss of the last tenth of the steps, of the best seed."""
    highest: float


@dataclass(frozen=True)
class Heads:
    """What was measured."""

    learned: dict[str, Learned]
    """By the number of heads."""
    worths: dict[str, list[float]]
    """Of the trained model, by module: how far predictions move without each head (divergence in nats a piece)."""


def run(*, trained: Path, steps: int = 130, repeats: int = 2, seed: int = 0, progress: Progress = silent) -> Heads:
    """Trains attention with 1, 2, 4 and 8 heads, and switches off those of a trained run."""
    learned = {}
    for number, n_heads in enumerate(HEADS):
        losses = []
        for repeat in range(repeats):
            losses.append(training(n_heads, steps, seed + repeat))
            progress(number * repeats + repeat + 1, len(HEADS) * repeats)
        attend, (x, _) = SelfAttention(D_MODEL, n_heads=n_heads), batch()
        with FlopCount() as count:
            attend(x)
        last = [sum(curve[-steps // 10 :]) / len(curve[-steps // 10 :]) for curve in losses]
        mean = [sum(at_once) / repeats for at_once in zip(*losses, strict=True)]
        parameters = sum(parameter.numel() for parameter in attend.parameters())
        learned[str(n_heads)] = Learned(parameters, count.total, mean, min(last), max(last))
    view = attention_of(Opened.open(trained, SENTENCE, checkpoint="best", device="cpu"))
    worths = {its.name: [head.worth.divergence for head in its.heads if head.worth] for its in view.maps}
    return Heads(learned, worths)


def batch() -> tuple[Tensor, Tensor]:
    """Returns what is read, content and place, and what is wanted: parts of the content of four other positions."""
    content, place = torch.randn(ROWS, SEQ, THINGS * PART), 3 * torch.eye(SEQ).expand(ROWS, -1, -1)
    parts = content.chunk(THINGS, dim=-1)
    wanted = [part.roll(-(2 * number + 1), dims=1) for number, part in enumerate(parts)]
    return torch.cat([content, place], dim=-1), torch.cat(wanted, dim=-1)


def training(n_heads: int, steps: int, seed: int) -> list[float]:
    """Returns the loss at each step; the target has variance 1, so it is the share that is not explained."""
    torch.manual_seed(seed)
    attend = SelfAttention(D_MODEL, n_heads=n_heads)
    optimizer = torch.optim.Adam(attend.parameters(), lr=0.02)
    losses = []
    for _ in range(steps):
        x, wanted = batch()
        loss = (attend(x)[..., : THINGS * PART] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def bound(n_heads: int) -> float:
    """Returns the share of four things that so many averages leave unexplained."""
    return max(1 - n_heads / THINGS, 0.0)


def check(measured: Heads) -> Claims:
    """Returns whether each sentence of the answer holds."""
    one, two, four, eight = (measured.learned[str(n_heads)] for n_heads in HEADS)
    every, (median, most) = (one, two, four, eight), middle_and_most(measured)
    return {
        "equal": len({(its.parameters, its.flops) for its in every}) == 1,
        "average": all(its.lowest > bound(n) - 0.05 for n, its in ((1, one), (2, two))) and one.highest < 0.85,
        "enough": four.lowest < 0.1 and two.highest < 0.6,
        "more": eight.lowest < 0.1 and four.lowest - eight.lowest < 0.05,
        "unequal": most > 3 * median > 0,
    }


def middle_and_most(measured: Heads) -> tuple[float, float]:
    """Returns the worth of the middle head of the trained model, and of its most important one."""
    worths = sorted(worth for module in measured.worths.values() for worth in module)
    return worths[len(worths) // 2], worths[-1]


def facts(measured: Heads) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    losses = {f"with_{n_heads}": f"{its.lowest:.2f}" for n_heads, its in measured.learned.items()}
    median, most = middle_and_most(measured)
    moved = {"most": f"{most:.3f}", "median": f"{median:.3f}", "heads": str(sum(map(len, measured.worths.values())))}
    return {"guess": losses["with_1"], "parameters": f"{measured.learned['1'].parameters:,}", **losses, **moved}


def ends(learned: Learned) -> tuple[str, str]:
    """Returns the losses of the best and the worst seed, as text."""
    return f"{learned.lowest:.3f}", f"{learned.highest:.3f}"


def show(measured: Heads, say: Say) -> list[Part]:
    """Returns a row for each number of heads, the curves of training, and what each trained head is worth."""
    rows = [
        (n, str(D_MODEL // int(n)), f"{its.parameters:,}", f"{its.flops:,}", f"{bound(int(n)):.2f}", *ends(its))
        for n, its in measured.learned.items()
    ]
    names = ("heads", "head_dim", "parameters", "flops", "bound", "lowest", "highest")
    steps = [float(step) for step in range(1, len(measured.learned["1"].curve) + 1)]
    curves = {say("of").format(heads=n_heads): its.curve for n_heads, its in measured.learned.items()}
    worths = [(name, *(f"{worth:.3f}" for worth in its)) for name, its in measured.worths.items()]
    columns = (say("module"), *(f">{number}" for number in range(max(map(len, measured.worths.values())))))
    return [
        Table(say("learned"), tuple(f">{say(name)}" for name in names), rows),
        Curves(say("curve"), say("step"), steps, curves),
        Table(say("worths"), columns, worths),
    ]
