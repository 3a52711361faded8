"""A step that would not become finite, taken again: where the first value that is not finite arises."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.checkpoint import load_model_tensors
from clearhead.errors import ModelError
from clearhead.runs.opened import SavedRun
from clearhead.tasks.catalog import family_of_run
from clearhead.tasks.family import LearnedFamily
from clearhead.tasks.room import build_to_load
from clearhead.training.config import TrainConfig
from clearhead.training.failure import Failure, load_failure
from clearhead.training.generators import seed_generators
from clearhead.training.precision import Precision


@dataclass
class Finding:
    """The result of a replayed step."""

    step: int
    where: str
    """Which lines of the text the batches come from."""
    recorded: tuple[float, float]
    """Loss and gradient norm of the step when the run took it."""
    losses: list[float] = field(default_factory=list)
    """What each batch adds to the loss of the step."""
    first: str = ""
    """Where the first value arose that is not finite; empty if all are finite now."""

    def lines(self) -> list[str]:
        """Returns the result as lines of text."""
        loss, norm = self.recorded
        lines = [f"step {self.step}: loss {loss}, gradient norm {norm} in the run; {self.where or 'lines not known'}"]
        lines += [f"batch {number}: loss {value}" for number, value in enumerate(self.losses, 1)]
        return [*lines, f"first not finite: {self.first}" if self.first else "all values are finite when taken again"]


def replay(run: Path) -> Finding:
    """Computes the failed step of a run again, on the CPU, with the same weights, batches and random numbers.

    Raises:
        ModelError: the run has no failed step, or the files of the step are damaged.
    """
    opened = SavedRun.open(run)
    family = family_of_run(opened)
    if not isinstance(family, LearnedFamily):
        raise ModelError(f"run {str(run)!r}: is trained without steps, so there is none to replay")
    recipe, sizes = family.parse(opened.tree, opened.source), family.parts(run).sizes
    model = build_to_load(family.build, recipe, sizes)
    failure, weights = load_failure(run, family.batch)
    load_model_tensors(model, weights, str(run))
    finding = Finding(failure.step, failure.where, (failure.loss, failure.grad_norm))
    bad = [name for name, tensor in model.state_dict().items() if _bad(tensor)]
    if bad:
        finding.first = f"weights before the step: {', '.join(bad[:5])}"
        return finding
    # this loss leaves out the weights of classes: they scale the loss of a line, and change nothing that is not finite
    _take(model.train(), failure, lambda batch: family.loss(model, batch, recipe, sizes)[0], recipe.train, finding)
    return finding


def _take(
    model: nn.Module, failure: Failure, loss_of: Callable[[Any], Tensor], train: TrainConfig, finding: Finding
) -> None:
    precision = Precision(train.numbers)
    seed_generators(failure.seed)
    with _watched(model, finding):
        for batch in failure.batches:
            with precision.autocast():
                loss = loss_of(batch) / failure.total
            finding.losses.append(float(loss.detach()))
            if not finding.first and _bad(loss.detach()):
                finding.first = "the loss, of outputs that are finite"
            # scaled as in the run: in float16 a gradient may leave the range before it is scaled down
            precision.scaler.scale(loss).backward()
    broken = [name for name, weight in model.named_parameters() if weight.grad is not None and _bad(weight.grad)]
    if broken and not finding.first:
        finding.first = f"the gradient of {', '.join(broken[:5])}"


@contextmanager
def _watched(model: nn.Module, finding: Finding) -> Iterator[None]:
    """Checks the output of each module in the forward pass, and its gradient in the backward pass."""
    names = {module: name or type(model).__name__ for name, module in model.named_modules()}

    def keep_first(text: str) -> None:
        finding.first = finding.first or text

    def check_gradient(name: str, gradient: Tensor) -> None:
        if _bad(gradient):
            keep_first(f"on the way back, the gradient of what {name} gives: {_described(gradient)}")

    def check_output(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if not isinstance(out, Tensor):
            return
        if _bad(out):
            largest = max((float(value.detach().abs().max()) for value in args if _is_real(value)), default=0.0)
            keep_first(f"{names[module]} ({type(module).__name__}): {_described(out)}, of inputs up to {largest:.3g}")
        if out.requires_grad:
            out.register_hook(lambda gradient, name=names[module]: check_gradient(name, gradient))

    hooks = [module.register_forward_hook(check_output) for module in names]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 0


def _bad(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())


def _described(tensor: Tensor) -> str:
    nan, inf = int(tensor.isnan().sum()), int(tensor.isinf().sum())
    return f"{nan} nan and {inf} inf of {tensor.numel()} in {list(tensor.shape)}"
