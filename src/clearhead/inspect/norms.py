"""Inputs and outputs of norms, in training and in inference; running statistics; gamma and beta over training."""

import copy
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.arguments import fitting
from clearhead.drawing.report import Curves, Note, Part, Table, View
from clearhead.errors import ModelError
from clearhead.inspect.call import untouched
from clearhead.nn.norm import BatchNorm, Norm

TINY = 1e-12  # an output of zeros is not divided by
APART = 0.01  # a norm is marked if training and inference differ by more than this share of the output


@dataclass(frozen=True)
class Spread:
    """Mean, standard deviation and range of some numbers."""

    mean: float
    std: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Tensor) -> "Spread":
        """Returns the spread of all elements of a tensor."""
        values = values.detach().double()
        return cls(*(float(value) for value in (values.mean(), values.std(correction=0), values.min(), values.max())))

    def __str__(self) -> str:
        return f"{self.mean:z.2f} ± {self.std:.2f}"


@dataclass(frozen=True)
class Running:
    """Running statistics of a batch norm, and those of this batch."""

    mean: Spread
    var: Spread
    batch_mean: Spread
    batch_var: Spread
    apart: float
    """Root mean square of (running - batch) mean in running standard deviations."""


@dataclass(frozen=True)
class NormInfo:
    """One norm on one batch; statistics are over real positions and all features."""

    name: str
    kind: str
    input: Spread
    output: Spread
    """In inference."""
    gamma: Spread
    beta: Spread | None
    difference: float
    """Root mean square of the output in training less that in inference, as a share of that in inference. Of the norms
    of clearhead, only a batch norm's is not 0."""
    running: Running | None = None


@dataclass(frozen=True)
class Moment:
    """Gamma and beta of a norm at one checkpoint."""

    step: int
    gamma: Spread
    beta: Spread | None


@dataclass(frozen=True)
class NormView(View):
    """All norms of a model."""

    norms: list[NormInfo]
    history: dict[str, list[Moment]]
    """Gamma and beta by checkpoint, for each norm."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"norm: {len(self.norms)} norms on one batch"

    def parts(self) -> list[Part]:
        """See ``View``."""
        rows = [(norm.name, str(norm.input), str(norm.output), f"{norm.difference:.1%}") for norm in self.norms]
        kinds = ", ".join(sorted({norm.kind for norm in self.norms}))
        marked = frozenset(number for number, norm in enumerate(self.norms) if norm.difference > APART)
        # a column of zeros says no more than the line below it
        apart = any(norm.difference for norm in self.norms)
        columns = ("norm", ">input", ">output", ">training apart")[: 4 if apart else 3]
        parts: list[Part] = [] if marked else [Note("training and inference compute the same on this batch")]
        parts.append(Table(f"{kinds}: mean ± deviation", columns, [row[: len(columns)] for row in rows], marked))
        learned = [(norm.name, str(norm.gamma), "" if norm.beta is None else str(norm.beta)) for norm in self.norms]
        parts.append(Table("what was learned", ("norm", ">gamma", ">beta"), learned))
        running = [
            (
                norm.name,
                str(norm.running.mean),
                str(norm.running.batch_mean),
                f"{norm.running.var.mean:.2f}",
                f"{norm.running.batch_var.mean:.2f}",
                f"{norm.running.apart:.2f}",
            )
            for norm in self.norms
            if norm.running
        ]
        if running:
            names = (">mean", ">batch's", ">variance", ">batch's", ">means apart, in deviations")
            parts.append(Table("running statistics and those of this batch", ("norm", *names), running))
        return parts + self._history()

    def _history(self) -> list[Part]:
        steps = [moment.step for moment in next(iter(self.history.values()), [])]
        if len(steps) < 2:
            return [Note("gamma and beta over training: there is one checkpoint only; train.keep_last keeps more")]
        parts: list[Part] = []
        for word in ("gamma", "beta"):
            lines = {
                name: [spread.std if word == "beta" else spread.mean for spread in spreads if spread]
                for name, moments in self.history.items()
                if all(spreads := [getattr(moment, word) for moment in moments])
            }
            title = f"{word} over training: {'standard deviation' if word == 'beta' else 'mean'}"
            if lines:
                parts.append(Curves(title, "step", list(map(float, steps)), lines))
        return parts


def norm(
    model: nn.Module,
    read: Callable[[], object],
    *,
    checkpoints: Iterable[tuple[int, Mapping[str, Tensor]]] = (),
) -> NormView:
    """Shows what the norms of a model do on one batch.

    Args:
        model: eager, with norms of ours.
        read: calls the model once, on a batch of any size; if a norm is called several times, the last call counts.
        checkpoints: (step, weights) of each checkpoint, to see gamma and beta change; read one at a time.

    Raises:
        ModelError: the model is compiled or has no norm of ours.
    """
    fitting(model, nn.Module, "model")
    norms = {name: module for name, module in model.named_modules() if isinstance(module, Norm)}
    if not norms:
        raise ModelError(f"norm: a {type(model).__name__} has none")
    infos: dict[str, NormInfo] = {}

    def look(name: str) -> Callable[..., None]:
        def see(module: Norm, args: tuple[Any, ...], output: Tensor) -> None:
            infos[name] = _info(name, module, args[0].detach(), args[1] if len(args) > 1 else None, output.detach())

        return see

    with untouched(model, training=False), torch.no_grad(), ExitStack() as hooks:
        for name, module in norms.items():
            hooks.enter_context(module.register_forward_hook(look(name)))
        read()
    history: dict[str, list[Moment]] = {name: [] for name in infos}
    for step, weights in checkpoints:
        for name, moments in history.items():
            beta = weights.get(f"{name}.bias")
            moments.append(
                Moment(step, Spread.of(weights[f"{name}.weight"]), None if beta is None else Spread.of(beta))
            )
    return NormView([infos[name] for name in norms if name in infos], history)


def _info(name: str, module: Norm, x: Tensor, mask: Tensor | None, output: Tensor) -> NormInfo:
    """Describes one norm on one batch; it is copied to see its output in training mode."""
    real, shown = (x.flatten(0, -2), output.flatten(0, -2)) if mask is None else (x[mask], output[mask])
    trained = copy.deepcopy(module).train().forward(x, mask)  # not called, since its hook would come back here
    trained = trained.flatten(0, -2) if mask is None else trained[mask]
    apart = (trained - shown).square().mean().sqrt() / shown.square().mean().sqrt().clamp(min=TINY)
    training, running = float(apart), None
    if isinstance(module, BatchNorm):
        mean, var = real.mean(dim=0), real.var(dim=0, correction=0)
        apart = (module.running_mean - mean) / (module.running_var + module.eps).sqrt()
        running = Running(
            mean=Spread.of(module.running_mean),
            var=Spread.of(module.running_var),
            batch_mean=Spread.of(mean),
            batch_var=Spread.of(var),
            apart=float(apart.square().mean().sqrt()),
        )
    beta = None if module.bias is None else Spread.of(module.bias)
    kind = type(module).__name__
    return NormInfo(name, kind, Spread.of(real), Spread.of(shown), Spread.of(module.weight), beta, training, running)
