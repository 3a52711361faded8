"""What happens when a tensor is overwritten that autograd still needs: refused, caught, harmless, or silent.

Autograd counts the writes to each tensor, its version, and notes the version of what it saves. Six programs write in
place at different moments. ``clearhead.inspect.autograd`` names the line that saved and the line that wrote.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Part, Table
from clearhead.inspect.graph import autograd
from clearhead.lessons.lesson import Claims, Say
from clearhead.nn.layer import EncoderLayer
from clearhead.optim.build import OptimConfig, build_optimizers

LIMITS = {"size": (1, 64)}
Case = Callable[[Tensor], Tensor]


def leaf(w: Tensor) -> Tensor:
    """Writes into a leaf."""
    w.add_(1)
    return w.square().sum()


def saved(w: Tensor) -> Tensor:
    """Writes into what ``exp`` saved: its result is its derivative."""
    h = w.exp()
    h.add_(1)
    return h.sum()


def unsaved(w: Tensor) -> Tensor:
    """Writes into what nobody saved: the derivative of ``3 * w`` needs no ``h``."""
    h = 3 * w
    h.relu_()
    return h.sum()


def early(w: Tensor) -> Tensor:
    """Writes into a leaf without recording, before it is used."""
    with torch.no_grad():
        w.add_(1)
    return w.square().sum()


def late(w: Tensor, *, hidden: bool = False) -> Tensor:
    """Writes after ``square`` has saved the leaf; hidden: through ``.data``, which has a version of its own."""
    loss = w.square().sum()
    with torch.no_grad():
        (w.data if hidden else w).add_(1)
    return loss


CASES: dict[str, tuple[Case, Case]] = {
    "w.add_(1)": (leaf, lambda w: 2 * w),
    "h = w.exp(); h.add_(1)": (saved, lambda w: w.exp()),
    "h = 3 * w; h.relu_()": (unsaved, lambda w: 3 * (w > 0)),
    "no_grad: w.add_(1), then w ** 2": (early, lambda w: 2 * (w + 1)),
    "w ** 2, then no_grad: w.add_(1)": (late, lambda w: 2 * w),
    "w ** 2, then w.data.add_(1)": (partial(late, hidden=True), lambda w: 2 * w),
}  # each with the right gradient
LEAF, SAVED, UNSAVED, EARLY, LATE, HIDDEN = CASES


@dataclass(frozen=True)
class Outcome:
    """One program: was the write accepted, which error came, how far the gradient is off, who saved and who wrote."""

    written: bool
    error: str
    off: float
    lines: list[str]


@dataclass(frozen=True)
class Inplace:
    """What was measured."""

    outcomes: dict[str, Outcome]
    conflicts: int
    """In a layer of clearhead."""
    moved: float
    """By how much a step of an optimizer changed weights where they lie in memory."""


def run(*, size: int = 4, seed: int = 0) -> Inplace:
    """Runs the programs on ``size`` numbers, and a training step of a layer."""
    torch.manual_seed(seed)
    w = torch.randn(size)
    outcomes = {text: outcome(case, w, right(w)) for text, (case, right) in CASES.items()}
    conflicts = autograd(EncoderLayer(16, n_heads=2, d_ff=32), torch.randn(2, 4, 16)).conflicts
    linear = nn.Linear(size, size)
    place, before = linear.weight.data_ptr(), linear.weight.detach().clone()
    linear(w).sum().backward()
    build_optimizers(linear, OptimConfig(), lr=0.1).step()
    moved = float((linear.weight.detach() - before).abs().max())
    return Inplace(outcomes, len(conflicts), moved if linear.weight.data_ptr() == place else 0.0)


def outcome(case: Case, w: Tensor, right: Tensor) -> Outcome:
    """Runs one program."""
    leaf, loss, error, lines = w.clone().requires_grad_(), None, "", list[str]()
    try:
        loss = case(leaf)
        copy = nn.ParameterList([w.clone()])
        for conflict in autograd(copy, (), loss=lambda model, _: case(next(model.parameters()))).conflicts:
            lines += [line.rpartition("/")[2] for line in (conflict.saved_at, conflict.overwritten_at)]
        loss.backward()
    except RuntimeError as raised:
        error = str(raised).partition(": [")[0]
    off = 0.0 if leaf.grad is None else float((leaf.grad - right).abs().max())
    return Outcome(loss is not None, error, off, lines)


def check(measured: Inplace) -> Claims:
    """Returns whether each sentence of the answer holds."""
    outcomes = measured.outcomes
    right = [text for text, its in outcomes.items() if not its.error and its.off < 1e-6]
    lines = [int(line.split(":")[1].split()[0]) for line in outcomes[SAVED].lines]
    return {
        "leaf": not outcomes[LEAF].written and "a leaf Variable that requires grad" in outcomes[LEAF].error,
        "caught": outcomes[SAVED].written and "modified by an inplace operation" in outcomes[SAVED].error,
        "lines": len(lines) == 2 and lines[1] == lines[0] + 1 and len(outcomes[LATE].lines) == 2,
        "harmless": UNSAVED in right and outcomes[UNSAVED].lines == [] and measured.conflicts == 0,
        "no_grad": EARLY in right and measured.moved > 1e-3,
        "late": outcomes[LATE].written and "modified by an inplace operation" in outcomes[LATE].error,
        "data": outcomes[HIDDEN].error == "" and outcomes[HIDDEN].off > 1,
    }


def facts(measured: Inplace) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    caught, failed = measured.outcomes[SAVED], sum(bool(its.error) for its in measured.outcomes.values() if its.written)
    off, (saved, written) = measured.outcomes[HIDDEN].off, caught.lines[:2] or ("", "")
    return {"guess": str(failed), "error": caught.error, "saved": saved, "written": written, "off": f"{off:.1f}"}


def show(measured: Inplace, say: Say) -> list[Part]:
    """Returns a table of the programs, and the lines of those that overwrote what was saved."""
    words = {text: "failed" if its.written else "refused" for text, its in measured.outcomes.items() if its.error}
    others = {text: "wrong" if its.off > 1e-6 else "right" for text, its in measured.outcomes.items()}
    rows = [(text, say(word)) for text, word in {**others, **words}.items()]
    lines = [(text, *its.lines[:2]) for text, its in measured.outcomes.items() if its.lines]
    columns = (say("program"), say("saved"), say("written"))
    return [Table(say("table"), (columns[0], say("outcome")), rows), Table(say("lines"), columns, lines)]
