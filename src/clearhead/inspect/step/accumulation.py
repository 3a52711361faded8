"""Gradients of unequal batches added up, against those of one batch; gradients of zeros against none; bytes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.arguments import checked
from clearhead.drawing.report import Bars, Note, Part, Table, View, amount
from clearhead.errors import UsageError
from clearhead.inspect.call import untouched
from clearhead.inspect.flow import Stepper
from clearhead.inspect.ledger import SAVED, memory
from clearhead.messages import Prose
from clearhead.nn.norm import Norm

SummedLoss = Callable[[nn.Module, Any], tuple[Tensor, int]]
"""(model, batch) -> (sum of the loss over targets, their number)."""
APART = 1e-3  # gradients further apart than this share are marked: rounding gives some 1e-6


@dataclass(frozen=True)
class AccumulateView(View):
    """One batch against several, on one model."""

    targets: list[int]
    """Of each batch."""
    apart: float
    """Distance of the gradient that is added up from that of all rows, as a share of its size."""
    worst: str
    """Parameter with the number that differs the most."""
    worst_apart: float
    """By how much, as a share of the largest number of the gradient."""
    means: float
    """The same of the mean of the gradients of means, which weighs a small batch like a large one."""
    saved: dict[str, int]
    """Bytes of activations that autograd saves for ``all`` rows at once, and for the ``largest`` batch."""
    held: dict[str, int]
    """Bytes of the ``weights``, and of gradients of ``zeros`` and of ``none``."""
    moved: dict[str, float]
    """Largest change of a weight by a step of the optimizer with such gradients."""
    note: str = ""
    """What else a reader should know."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"gradients of {len(self.targets)} batches added up, {' + '.join(map(str, self.targets))} targets"

    def parts(self) -> list[Part]:
        """See ``View``."""
        rows = [
            (Prose("sums of losses, divided by all targets"), f"{self.apart:.1e}"),
            (Prose(f"the number that differs the most, of {self.worst}"), f"{self.worst_apart:.1e}"),
            (Prose("mean of the gradients of each batch's mean"), f"{self.means:.1e}"),
        ]
        marked = frozenset([0] if self.apart > APART else [])
        table = Table("distance from the gradient of one batch of all rows", ("gradient", ">share"), rows, marked)
        saved = {Prose("all rows at once"): self.saved["all"], Prose("the largest batch"): self.saved["largest"]}
        bars = Bars(
            "bytes that autograd saves",
            {name: float(size) for name, size in saved.items()},
            tuple(map(amount, saved.values())),
        )
        words = {"zeros": Prose("zeros"), "none": Prose("none")}
        idle = [(words[kind], amount(self.held[kind]), f"{moved:.1e}") for kind, moved in self.moved.items()]
        columns = ("gradient", ">bytes", ">largest change of a weight")
        parts: list[Part] = [table, bars, Table("a step of the optimizer without new gradients", columns, idle)]
        parts.append(
            Note(f"weights have {amount(self.held['weights'])}; gradients stay between batches until the step")
        )
        parts.append(Note("dropout is off, which draws anew for each batch; norms compute as in training"))
        if self.note:
            parts.append(Note(self.note))
        return parts


@checked
def accumulate(
    model: nn.Module,
    batches: Sequence[Any],
    whole: Any,
    *,
    loss: SummedLoss,
    optimizer: Callable[[nn.Module], Stepper] | None = None,
    note: str = "",
) -> AccumulateView:
    """Adds up gradients of batches, compares them with those of all rows at once, and restores every weight.

    Args:
        model: any module.
        batches: of any sizes.
        whole: all their rows in one batch.
        loss: gives the sum over the targets of a batch, and how many there are.
        optimizer: makes an optimizer for the model, which takes three steps; None: AdamW at 1e-3.
        note: a line for the view, such as the learning rate.

    Raises:
        UsageError: there are fewer than two batches.
        ModelError: the model is compiled, or has no output to differentiate.
    """
    if len(batches) < 2:
        raise UsageError(f"batches: must be two or more, not {len(batches)}")
    with untouched(model, training=False):
        for module in model.modules():
            module.training = isinstance(module, Norm)
        targets = [int(loss(model, batch)[1]) for batch in batches]
        one = gradient_of(model, [whole], loss)
        summed = gradient_of(model, batches, loss, targets=sum(targets))
        means = gradient_of(model, batches, loss)
    saved = {name: _saved(model, its, loss) for name, its in (("all", whole), ("largest", batches[_largest(targets)]))}
    held, moved = _idle(model, whole, loss, optimizer)
    most = {name: float((summed[name] - its).abs().max()) for name, its in one.items()}
    worst = max(most, key=most.__getitem__)
    flat, added, averaged = (torch.cat([part.flatten() for part in its.values()]) for its in (one, summed, means))
    return AccumulateView(
        targets=targets,
        apart=_share(added - flat, flat),
        worst=worst,
        worst_apart=most[worst] / float(flat.abs().max().clamp(min=1e-30)),
        means=_share(averaged / len(batches) - flat, flat),
        saved=saved,
        held=held,
        moved=moved,
        note=note,
    )


def gradient_of(
    model: nn.Module, batches: Sequence[Any], loss: SummedLoss, *, targets: int | None = None
) -> dict[str, Tensor]:
    """Adds up the gradients of batches, by parameter; those of the model are dropped before and after.

    Args:
        model: in the mode that it should have.
        batches: their losses are differentiated in turn.
        loss: see ``accumulate``.
        targets: divides each loss; None: each by the targets of its own batch.
    """
    model.zero_grad()
    for batch in batches:
        total, count = loss(model, batch)
        (total / (targets or count)).backward()
    gradients = {name: its.grad for name, its in model.named_parameters() if its.grad is not None}
    model.zero_grad()  # sets them to None, so that these stay as they are
    return gradients


def idle_step(model: nn.Module, step: Callable[[], object]) -> tuple[int, float]:
    """Takes a step on the gradients that are there; returns their bytes, and the largest change of a weight."""
    parameters = list(model.parameters())
    held = sum(parameter.grad.nbytes for parameter in parameters if parameter.grad is not None)
    before = [parameter.detach().clone() for parameter in parameters]
    step()
    changes = [(now.detach() - old).abs().max() for now, old in zip(parameters, before, strict=True)]
    return held, float(max(changes))


def _idle(
    model: nn.Module, batch: Any, loss: SummedLoss, optimizer: Callable[[nn.Module], Stepper] | None
) -> tuple[dict[str, int], dict[str, float]]:
    """Steps once on a gradient, then on none, then on zeros; the weights are restored."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with untouched(model, training=False), _put_back(learning):
        stepper = torch.optim.AdamW(learning, lr=1e-3) if optimizer is None else optimizer(model)
        total, count = loss(model, batch)
        (total / count).backward()
        stepper.step()
        model.zero_grad()
        none = idle_step(model, stepper.step)
        for parameter in learning:
            parameter.grad = torch.zeros_like(parameter)
        zeros = idle_step(model, stepper.step)
    held = {"weights": sum(parameter.nbytes for parameter in learning), "zeros": zeros[0], "none": none[0]}
    return held, {"zeros": zeros[1], "none": none[1]}


@contextmanager
def _put_back(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Restores the values of parameters after the block; also after an error."""
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)


def _saved(model: nn.Module, batch: Any, loss: SummedLoss) -> int:
    def mean(model: nn.Module, batch: Any) -> Tensor:
        total, count = loss(model, batch)
        return total / count

    return memory(model, batch, loss=mean).entries[SAVED]


def _largest(targets: Sequence[int]) -> int:
    return max(range(len(targets)), key=targets.__getitem__)


def _share(difference: Tensor, of: Tensor) -> float:
    return float(difference.norm() / of.norm().clamp(min=1e-30))
