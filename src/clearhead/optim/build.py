"""From a config to an optimizer: which parameters decay, how fast each learns, which go to Muon, their average."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Interval, Lt
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from clearhead.errors import ModelError
from clearhead.nn.shards import part_like
from clearhead.optim.muon import Muon
from clearhead.optim.schedule import ScheduleName

OptimizerName = Literal["sgd", "adam", "adamw", "muon"]
Rate = Annotated[float, Ge(0.0), Lt(1.0)]

Tensors = tuple[Tensor, ...] | list[Tensor]
RateOf = Callable[[str], float]
"""Name of a parameter -> what the learning rate is multiplied by for it."""
OUTPUTS = ("lm_head", "out_proj")  # what our models call a layer whose output is logits


@dataclass(frozen=True)
class OptimConfig:
    """The optimizer, its schedule and its average."""

    name: OptimizerName = "adamw"
    """What turns gradients into steps; muon is for matrices inside the model and leaves the rest to adamw."""
    betas: tuple[Rate, Rate] = (0.9, 0.98)
    """Decay of adam's first and second moment."""
    eps: Annotated[float, Gt(0.0)] = 1e-9
    """Added to adam's denominator."""
    momentum: Rate = 0.9
    """Of sgd; muon uses at least 0.95."""
    weight_decay: Annotated[float, Ge(0.0)] = 0.0
    """Decay of matrices; norms and biases have none."""
    grad_clip_norm: Annotated[float, Ge(0.0)] = 1.0
    """Largest norm of all gradients together; 0 does not clip."""
    schedule: ScheduleName = "inverse_sqrt"
    """How the learning rate goes on after warm-up; described at ``lr_factor``."""
    min_lr_factor: Annotated[float, Interval(ge=0.0, le=1.0)] = 0.0
    """Where linear, cosine and wsd end, as a share of train.lr."""
    cycle_steps: Annotated[int, Ge(0)] = 0
    """First cycle of cosine_restarts; 0 makes three cycles of the run."""
    decay_fraction: Annotated[float, Interval(gt=0.0, le=1.0)] = 0.2
    """Share of the run in which wsd falls."""
    ema_decay: Rate = 0.0
    """Decay of the moving average of the weights that evaluation uses; 0 keeps none."""


class Optimizers:
    """One optimizer or two (Muon and AdamW) behind one ``step``; their state is keyed by parameter name."""

    def __init__(self, parts: list[torch.optim.Optimizer], names: dict[Tensor, str]) -> None:
        self.parts, self.names = parts, names
        self._peak = [[group["lr"] for group in part.param_groups] for part in parts]

    def set_lr_factor(self, factor: float) -> float:
        """Sets every group's rate to ``factor`` times its peak; returns the first group's."""
        for part, peaks in zip(self.parts, self._peak, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
        return float(self.parts[0].param_groups[0]["lr"])

    def step(self, take: Callable[[torch.optim.Optimizer], object] = lambda part: part.step()) -> None:
        """Updates all parameters; ``take`` steps one optimizer."""
        for part in self.parts:
            take(part)

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def point_at(self, model: nn.Module) -> None:
        """Takes the parameters of ``model`` with the same names in place of its own, before there is any state."""
        now = dict(model.named_parameters())
        for part in self.parts:
            for group in part.param_groups:
                group["params"] = [now[self.names[param]] for param in group["params"]]
        self.names = {now[name]: name for name in self.names.values()}

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns the state as ``slot/parameter.name`` -> tensor."""
        found: dict[str, Tensor] = {}
        for part in self.parts:
            for param, slots in part.state.items():
                for slot, value in slots.items():
                    found[f"{slot}/{self.names[param]}"] = torch.as_tensor(value)
        return found

    def without_state(self) -> list[str]:
        """Returns the names of the parameters that no step has changed yet."""
        kept = {param for part in self.parts for param, slots in part.state.items() if slots}
        return [name for param, name in self.names.items() if param not in kept]

    def load_state_tensors(self, tensors: dict[str, Tensor], *, without: Collection[str] | None = None) -> None:
        """Takes what ``state_tensors`` gave; parameters are found by name, in whatever order they are.

        Args:
            tensors: the state.
            without: what ``without_state`` gave; None: any parameter may be without.

        Raises:
            ModelError: a parameter is missing here or there, or its state is of another optimizer or shape; the message
                names it.
        """
        by_name = {name: param for param, name in self.names.items()}
        owner = {param: part for part in self.parts for group in part.param_groups for param in group["params"]}
        found: dict[Tensor, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            slot, _, name = key.partition("/")
            if name not in by_name:
                raise ModelError(f"optimizer state of an unknown parameter {name!r}")
            found.setdefault(by_name[name], {})[slot] = value
        for name, param in by_name.items():
            slots = found.get(param, {})
            if not slots and (without is None or name in without):
                continue
            _check_slots(name, param, slots, type(owner[param]))
            # a step count stays where it is made, on the CPU; moments go where the parameter is
            owner[param].state[param] = {
                slot: value.clone() if slot == "step" else part_like(param, value).to(param.device, copy=True)
                for slot, value in slots.items()
            }


def _check_slots(name: str, param: Tensor, slots: dict[str, Tensor], kind: type[torch.optim.Optimizer]) -> None:
    wanted = ("momentum_buffer",) if kind in (torch.optim.SGD, Muon) else ("exp_avg", "exp_avg_sq", "step")
    if not slots:
        raise ModelError(f"optimizer state of parameter {name!r} is missing")
    if sorted(slots) != sorted(wanted):
        raise ModelError(
            f"optimizer state of parameter {name!r} is {', '.join(sorted(slots))}; {kind.__name__} needs "
            f"{', '.join(wanted)}"
        )
    for slot, value in slots.items():
        if slot != "step" and value.shape != param.shape:
            given, needed = list(value.shape), list(param.shape)
            raise ModelError(f"optimizer state {slot}/{name} has shape {given}, its parameter needs {needed}")


def same_rate(name: str) -> float:
    """The ``RateOf`` of a model whose parts all learn alike."""
    return 1.0


def parameter_groups(
    model: nn.Module, weight_decay: float, *, lr: float, rate_of: RateOf = same_rate
) -> tuple[list[dict[str, Any]], dict[Tensor, str]]:
    """Splits trainable parameters by rate, and into those that decay (matrices) or do not (norms, biases, vectors).

    A tied parameter counts once, under its first name. The fastest come first.
    """
    names: dict[Tensor, str] = {param: name for name, param in model.named_parameters() if param.requires_grad}
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for param, name in names.items():
        groups.setdefault((rate_of(name), param.ndim >= 2), []).append(param)
    ordered = sorted(groups, reverse=True)
    return [
        {"params": groups[rate, decays], "weight_decay": weight_decay if decays else 0.0, "lr": lr * rate}
        for rate, decays in ordered
    ], names


def build_optimizers(model: nn.Module, config: OptimConfig, lr: float, rate_of: RateOf = same_rate) -> Optimizers:
    """Builds what ``config.name`` says for all trainable parameters of ``model``.

    Args:
        model: its parameters are changed in place.
        config: which optimizer.
        lr: peak rate of a parameter whose factor is 1.
        rate_of: each parameter's factor, by name.
    """
    groups, names = parameter_groups(model, config.weight_decay, lr=lr, rate_of=rate_of)
    adam: dict[str, Any] = {"lr": lr, "betas": config.betas, "eps": config.eps, "fused": True}
    match config.name:
        case "sgd":
            return Optimizers([torch.optim.SGD(groups, lr=lr, momentum=config.momentum, fused=True)], names)
        case "adam":
            return Optimizers([torch.optim.Adam(groups, **adam)], names)
        case "adamw":
            return Optimizers([torch.optim.AdamW(groups, **adam)], names)
        case "muon":
            return Optimizers(_muon_and_adamw(model, groups, config, adam), names)


def build_ema(model: nn.Module, decay: float) -> AveragedModel:
    """Returns a moving average of the weights; early on it follows faster, at (1 + n) / (10 + n) after n steps."""

    @torch.no_grad()
    def average(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        n = float(count)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(model, multi_avg_fn=average, use_buffers=False)


def _muon_and_adamw(
    model: nn.Module, groups: list[dict[str, Any]], config: OptimConfig, adam: dict[str, Any]
) -> list[torch.optim.Optimizer]:
    """Matrices of linear layers inside the stacks go to Muon; tables, the output layer and vectors to AdamW."""
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    tables |= {module.weight for name, module in model.named_modules() if name.split(".")[-1] in OUTPUTS}
    linear = {module.weight for module in model.modules() if isinstance(module, nn.Linear)} - tables

    def part(inside: bool) -> list[dict[str, Any]]:
        found = [{**group, "params": [one for one in group["params"] if (one in linear) == inside]} for group in groups]
        return [group for group in found if group["params"]]

    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, **adam)] if (rest := part(False)) else []
    if matrices := part(True):
        found.append(Muon(matrices, lr=adam["lr"], momentum=max(config.momentum, 0.95)))
    return found
