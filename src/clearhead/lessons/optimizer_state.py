"""What an optimizer keeps for each parameter, in which groups, and how a saved state finds its parameters again.

The view ``optimizer`` counts the bytes of new optimizers after one step, and of a trained run. Then a state is loaded
into an optimizer whose parameters come in another order: by torch, which goes by position, and by clearhead, by name.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Bars, Part, Table
from clearhead.inspect.slots import Group, optimizer
from clearhead.lessons.lesson import Claims, Say
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.optim.build import OptimConfig, Optimizers, build_optimizers, slots_of
from clearhead.verbs.look.opened import Opened

LIMITS = {"n_layers": (1, 8)}
TASKS = ("translation", "language_model", "masked", "classify")
KINDS: dict[str, Any] = {"sgd": ("sgd", 0.0), "momentum": ("sgd", 0.9), "adamw": ("adamw", 0.0), "muon": ("muon", 0.0)}


@dataclass(frozen=True)
class OptimizerState:
    """What was measured."""

    bytes_each: dict[str, float]
    """Bytes of state for each float32 parameter of a small GPT after one step."""
    groups: list[Group]
    """Of the trained run."""
    learned: int
    """How many numbers its model learns."""
    share: float
    """Bytes of its state, in bytes of the weights that learn."""
    wanted: int
    """Numbers that its optimizer keeps for each that it learns, at least."""
    by_torch: dict[str, str]
    """Whose moments each of two matrices has after torch has loaded the state of an optimizer of another order."""
    by_clearhead: dict[str, str]
    """The same with clearhead's state, which has names."""
    shapes: list[str]
    """When torch complains of matrices of other shapes, ``load`` or ``step``, and what it says."""
    number: list[str]
    """The same for another number of matrices."""


def run(*, trained: Path, n_layers: int = 2, seed: int = 0) -> OptimizerState:
    """Counts what optimizers keep, looks into the run's, and loads states into optimizers of another order."""
    torch.manual_seed(seed)
    bytes_each = {kind: kept(n_layers, *settings) for kind, settings in KINDS.items()}
    opened = Opened.open(trained, checkpoint="latest", device="cpu")
    state = opened.learner(with_state=True)
    view = optimizer(state.optimizers.parts, state.model)
    learned = sum(parameter.numel() for parameter in state.model.parameters() if parameter.requires_grad)
    share, wanted = sum(slot.bytes for slot in view.slots) / view.weights, slots_of(opened.recipe.optim.name)

    source, by_position, by_name = stepped(first=8, second=8), stepped(second=8, first=8), stepped(second=8, first=8)
    by_position.parts[0].load_state_dict(source.parts[0].state_dict())
    by_name.load_state_tensors(source.state_tensors())
    shapes = complaint(stepped(second=4, first=8), stepped(first=8, second=4))
    number = complaint(stepped(first=8), source)
    by_torch, by_clearhead = whose(by_position, source), whose(by_name, source)
    return OptimizerState(bytes_each, view.groups, learned, share, wanted, by_torch, by_clearhead, shapes, number)


def kept(n_layers: int, name: Any, momentum: float) -> float:
    """Returns the bytes of state for each parameter of a small GPT after one step, by the view."""
    model = GPT(GPTConfig(d_model=32, d_ff=128, n_heads=4, n_layers=n_layers, max_seq_len=16), vocab_size=64)
    optimizers = build_optimizers(model, OptimConfig(name, momentum=momentum), 1e-3)
    model(torch.randint(64, (2, 16))).square().mean().backward()
    optimizers.step()
    view = optimizer(optimizers.parts, model)
    return sum(slot.bytes for slot in view.slots) / (view.weights / 4)


def stepped(**sizes: int) -> Optimizers:
    """Returns AdamW over some matrices, in the order given, after one step on random gradients."""
    model = nn.ModuleDict({name: nn.Linear(8, size, bias=False) for name, size in sizes.items()})
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    optimizers = Optimizers([torch.optim.AdamW(list(names))], names)  # not fused, since that checks no shapes
    step(optimizers)
    return optimizers


def step(optimizers: Optimizers) -> None:
    """Takes a step on random gradients."""
    for parameter in optimizers.names:
        parameter.grad = torch.randn_like(parameter)
    optimizers.step()


def whose(target: Optimizers, source: Optimizers) -> dict[str, str]:
    """Returns for each matrix of ``target`` which one of ``source`` had its first moment."""
    mine, theirs = (
        {key.split("/")[1]: tensor for key, tensor in optimizers.state_tensors().items() if key.startswith("exp_avg/")}
        for optimizers in (target, source)
    )
    return {name: next((its for its in theirs if theirs[its].equal(mine[name])), "none") for name in mine}


def complaint(target: Optimizers, source: Optimizers) -> list[str]:
    """Loads a state as torch does, and takes a step; returns what fails, and how."""
    phase = "load"
    try:
        target.parts[0].load_state_dict(source.parts[0].state_dict())
        phase = "step"
        step(target)
    except (ValueError, RuntimeError) as error:
        return [phase, str(error).partition("\n")[0]]
    return ["", ""]


def check(measured: OptimizerState) -> Claims:
    """Returns whether each sentence of the answer holds."""
    each, groups = measured.bytes_each, measured.groups
    names = [name for group in groups for name in group.names]
    return {
        "bytes": each["sgd"] == 0 and each["momentum"] == 4 and 8 <= each["adamw"] < 8.5,
        "muon": each["momentum"] < each["muon"] < each["adamw"],
        "run": measured.wanted - 0.01 < measured.share < 2.1,
        "groups": len(names) == len(set(names)) and sum(group.parameters for group in groups) == measured.learned,
        "order": measured.by_torch == {"second.weight": "first.weight", "first.weight": "second.weight"},
        "late": measured.shapes[0] == "step" and measured.number[0] == "load",
        "names": all(name == owner for name, owner in measured.by_clearhead.items()),
    }


def facts(measured: OptimizerState) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    each = {name: f"{number:.1f}" for name, number in measured.bytes_each.items() if name != "sgd"}
    count, tensors = len(measured.groups), sum(len(group.names) for group in measured.groups)
    numbers = {"count": str(count), "tensors": str(tensors), "learned": f"{measured.learned:,}"}
    return {"guess": each["adamw"], "share": f"{measured.share:.2f}", "error": measured.shapes[1], **each, **numbers}


def show(measured: OptimizerState, say: Say) -> list[Part]:
    """Returns bytes by optimizer, the groups of the run, and whose moments two matrices got."""
    each = measured.bytes_each
    groups = [
        (group.optimizer, f"{group.weight_decay:g}", str(len(group.names)), f"{group.parameters:,}", group.names[0])
        for group in measured.groups
    ]
    columns = (say("optimizer"), *(f">{say(name)}" for name in ("decay", "tensors", "numbers")), say("example"))
    owners = [(name, measured.by_torch[name], measured.by_clearhead[name]) for name in measured.by_torch]
    bars = Bars(say("bytes"), each, tuple(f"{number:.1f}" for number in each.values()))
    loaded = Table(say("loaded"), (say("matrix"), "load_state_dict", "clearhead"), owners)
    return [bars, Table(say("groups"), columns, groups), loaded]
