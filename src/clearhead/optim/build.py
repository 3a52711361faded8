"""Builds optimizers: which parameters have weight decay, which rate each has, which Muon updates; and their average."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from clearhead.errors import ModelError
from clearhead.nn.shards import part_like
from clearhead.optim.lerp import lerp_
from clearhead.optim.muon import Muon
from clearhead.optim.schedule import ScheduleName
from clearhead.ranges import CountOrZero, Epsilon, Rate, Ratio, Share, ShareAboveZero, Weight

OptimizerName = Literal["sgd", "adam", "adamw", "muon"]

TensorList = tuple[Tensor, ...] | list[Tensor]
RateOf = Callable[[str], float]
"""Name of a parameter -> the factor of its learning rate."""
OUTPUTS = ("lm_head", "out_proj")  # names that our models give to layers whose output is logits


@dataclass(frozen=True)
class OptimConfig:
    """The optimizer, its schedule and its average."""

    name: OptimizerName = "adamw"
    """What turns gradients into steps; muon is for matrices inside the model and leaves the rest to adamw."""
    betas: tuple[Rate, Rate] = (0.9, 0.98)
    """Decay rates of adam's first and second moment."""
    eps: Epsilon = 1e-9
    """Added to adam's denominator."""
    momentum: Rate = 0.9
    """Momentum of sgd; muon uses this or 0.95, whichever is larger."""
    weight_decay: Weight = 0.0
    """Weight decay of matrices; norms and biases have none."""
    grad_clip_norm: Ratio = 1.0
    """Gradients are scaled down to this norm, taken over all of them together; 0 does not clip."""
    schedule: ScheduleName = "inverse_sqrt"
    """How the learning rate goes on after warm-up; described at ``lr_factor``."""
    min_lr_factor: Share = 0.0
    """Learning rate at the end of linear, cosine, wsd and each cycle of cosine_restarts, as a share of train.lr."""
    cycle_steps: CountOrZero = 0
    """Steps of the first cycle of cosine_restarts; 0 divides the run into three cycles."""
    decay_fraction: ShareAboveZero = 0.2
    """Share of the run, at its end, in which wsd lowers the learning rate."""
    ema_decay: Rate = 0.0
    """Decay of the moving average of the weights, which evaluation uses in place of them; 0 keeps no average."""


def slots_of(name: OptimizerName) -> int:
    """Returns how many numbers an optimizer keeps for each one that it learns, at least."""
    match name:
        case "adam" | "adamw":
            return 2
        case "sgd" | "muon":
            return 1


class Optimizers:
    """One optimizer, or Muon and AdamW together, with one ``step``; their state is keyed by parameter name."""

    def __init__(self, parts: list[torch.optim.Optimizer], names: dict[Tensor, str]) -> None:
        self.parts, self.names = parts, names
        self._peak = [[group["lr"] for group in part.param_groups] for part in parts]

    @property
    def first_rate(self) -> float:
        """The learning rate of the first group, which stands for all of them in events and messages."""
        return float(self.parts[0].param_groups[0]["lr"])

    @property
    def first_peak(self) -> float:
        """The first group's rate at a factor of 1."""
        return float(self._peak[0][0])

    def set_lr_factor(self, factor: float) -> float:
        """Sets every group's rate to ``factor`` times its peak; returns the first group's."""
        for part, peaks in zip(self.parts, self._peak, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
        return self.first_rate

    def step(self, take: Callable[[torch.optim.Optimizer], object] | None = None) -> None:
        """Updates all parameters; ``take`` performs the step of one optimizer, as ``GradScaler.step`` does."""
        for part in self.parts:
            if take is None:
                part.step()
            else:
                take(part)

    def zero_grad(self) -> None:
        """Drops all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def point_at(self, model: nn.Module) -> None:
        """Replaces each parameter by the one of the same name in ``model``; only before there is optimizer state."""
        by_name = dict(model.named_parameters())
        for part in self.parts:
            for group in part.param_groups:
                group["params"] = [by_name[self.names[param]] for param in group["params"]]
        self.names = {by_name[name]: name for name in self.names.values()}

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns the state as ``slot/parameter.name`` -> tensor."""
        tensors: dict[str, Tensor] = {}
        for part in self.parts:
            for param, slots in part.state.items():
                for slot, value in slots.items():
                    tensors[f"{slot}/{self.names[param]}"] = torch.as_tensor(value)
        return tensors

    def without_state(self) -> list[str]:
        """Returns the names of the parameters that no step has changed yet."""
        updated = {param for part in self.parts for param, slots in part.state.items() if slots}
        return [name for param, name in self.names.items() if param not in updated]

    def load_state_tensors(self, tensors: dict[str, Tensor], *, without: Collection[str] | None = None) -> None:
        """Loads the result of ``state_tensors``, matching parameters by name.

        Args:
            tensors: the state.
            without: the result of ``without_state`` when the state was saved; None: any parameter may have no state.

        Raises:
            ModelError: a parameter is unknown or its state is missing, or the state is of another optimizer or shape;
                the message names the parameter.
        """
        by_name = {name: param for param, name in self.names.items()}
        owner = {param: part for part in self.parts for group in part.param_groups for param in group["params"]}
        saved: dict[Tensor, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            slot, _, name = key.partition("/")
            if name not in by_name:
                raise ModelError(f"optimizer state of an unknown parameter {name!r}")
            saved.setdefault(by_name[name], {})[slot] = value
        for name, param in by_name.items():
            slots = saved.get(param, {})
            if not slots and (without is None or name in without):
                continue
            _check_slots(name, param, slots, type(owner[param]))
            # the count of steps too: a GPU's fused kernel reads it there
            owner[param].state[param] = {
                slot: (value if slot == "step" else part_like(param, value)).to(param.device, copy=True)
                for slot, value in slots.items()
            }


def _check_slots(name: str, param: Tensor, slots: dict[str, Tensor], kind: type[torch.optim.Optimizer]) -> None:
    needed = ("momentum_buffer",) if kind in (torch.optim.SGD, Muon) else ("exp_avg", "exp_avg_sq", "step")
    if not slots:
        raise ModelError(f"optimizer state of parameter {name!r} is missing")
    if sorted(slots) != sorted(needed):
        raise ModelError(
            f"optimizer state of parameter {name!r} is {', '.join(sorted(slots))}; {kind.__name__} needs "
            f"{', '.join(needed)}"
        )
    for slot, value in slots.items():
        if slot != "step" and value.shape != param.shape:
            saved_shape, shape = list(value.shape), list(param.shape)
            raise ModelError(f"optimizer state {slot}/{name} has shape {saved_shape}, its parameter needs {shape}")


def same_rate(name: str) -> float:
    """Gives all parameters the same learning rate: the default ``RateOf``."""
    return 1.0


def parameter_groups(
    model: nn.Module, weight_decay: float, *, lr: float, rate_of: RateOf = same_rate
) -> tuple[list[dict[str, Any]], dict[Tensor, str]]:
    """Groups the trainable parameters by learning rate and by weight decay, which matrices have and vectors do not.

    A tied parameter counts once, under its first name.

    Args:
        model: the model.
        weight_decay: weight decay of matrices.
        lr: learning rate of a parameter whose factor is 1.
        rate_of: each parameter's factor, by name.

    Returns:
        The groups, in descending order of learning rate, those above ``lr`` last, and the name of each parameter.
    """
    names: dict[Tensor, str] = {param: name for name, param in model.named_parameters() if param.requires_grad}
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for param, name in names.items():
        groups.setdefault((rate_of(name), param.ndim >= 2), []).append(param)
    ordered = sorted(groups, key=lambda group: (group[0] > 1, -group[0], not group[1]))  # lr itself stands for all
    return [
        {"params": groups[rate, decays], "weight_decay": weight_decay if decays else 0.0, "lr": lr * rate}
        for rate, decays in ordered
    ], names


def build_optimizers(model: nn.Module, config: OptimConfig, lr: float, rate_of: RateOf = same_rate) -> Optimizers:
    """Builds the optimizer that ``config`` names, for all trainable parameters of ``model``.

    Args:
        model: the optimizer updates its parameters in place.
        config: which optimizer.
        lr: peak learning rate of a parameter whose factor is 1.
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
    """Returns a moving average of the weights, with a lower decay at first: (1 + n) / (10 + n) after n steps."""

    @torch.no_grad()
    def average(averaged: TensorList, current: TensorList, count: Tensor | int) -> None:
        n = float(count)
        lerp_(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(model, multi_avg_fn=average, use_buffers=False)


def _muon_and_adamw(
    model: nn.Module, groups: list[dict[str, Any]], config: OptimConfig, adam: dict[str, Any]
) -> list[torch.optim.Optimizer]:
    """Gives the matrices of linear layers to Muon; embedding tables, output layers and vectors to AdamW."""
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    tables |= {module.weight for name, module in model.named_modules() if name.split(".")[-1] in OUTPUTS}
    linear = {module.weight for module in model.modules() if isinstance(module, nn.Linear)} - tables

    matrices, others = [], []
    for group in groups:
        matrices.append({**group, "params": [param for param in group["params"] if param in linear]})
        others.append({**group, "params": [param for param in group["params"] if param not in linear]})
    optimizers: list[torch.optim.Optimizer] = []
    if others := [group for group in others if group["params"]]:
        optimizers.append(torch.optim.AdamW(others, **adam))
    if matrices := [group for group in matrices if group["params"]]:
        optimizers.append(Muon(matrices, lr=adam["lr"], momentum=max(config.momentum, 0.95)))
    return optimizers
