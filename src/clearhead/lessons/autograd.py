"""What autograd records in a forward pass, and what of it is left after the way back.

The feed-forward network of clearhead is run by hand, one tensor after another. ``clearhead.inspect.autograd`` shows the
graph from its loss to its parameters, ``clearhead.inspect.memory`` what is alive before and after ``backward``.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Part, Table
from clearhead.inspect.graph import GraphNode, autograd
from clearhead.inspect.ledger import memory
from clearhead.lessons.lesson import Claims, Say
from clearhead.nn.mlp import MLP

LIMITS = {"batch": (1, 64), "d_model": (1, 256), "d_ff": (1, 1024)}


@dataclass(frozen=True)
class Made:
    """One tensor of the pass; ``retain_grad`` was called on ``active``."""

    is_leaf: bool
    grad_fn: str
    requires_grad: bool
    if_bias_alone: bool
    """What ``requires_grad`` is if the last bias alone requires a gradient."""
    has_grad: bool


@dataclass(frozen=True)
class Autograd:
    """What was measured."""

    tensors: dict[str, Made]
    nodes: list[list[str]]
    leaves: list[str]
    parameters: list[str]
    by_hand: float
    """Largest difference of the kept gradient from the chain rule by hand."""
    twice: float
    """That gradient after a second ``backward``, as a multiple of itself after the first."""
    refused: str
    """Error of a third one, after the graph was freed."""
    saved: int
    gradients: int
    left: int
    """Bytes alive after the way back that were not before the forward pass; ``saved`` and ``gradients`` alike."""


def run(*, batch: int = 4, d_model: int = 8, d_ff: int = 16, seed: int = 0) -> Autograd:
    """Follows one forward and one backward pass of a feed-forward network."""
    torch.manual_seed(seed)
    mlp = MLP(d_model, d_ff, activation=nn.ReLU())
    x = torch.randn(batch, 1, d_model)
    for name, parameter in mlp.named_parameters():
        parameter.requires_grad_(name == "down_proj.bias")
    alone = forward(mlp, x)
    mlp.requires_grad_(True)
    tensors = forward(mlp, x)
    active: Any = tensors["active"]
    active.retain_grad()
    tensors["loss"].backward(retain_graph=True)
    slope = 2 * tensors["output"] / tensors["output"].numel()  # derivative of the mean of squares
    once = active.grad.clone()
    tensors["loss"].backward()
    refused = ""
    try:
        tensors["loss"].backward()
    except RuntimeError as error:
        refused = str(error).partition(" (")[0]
    graph = autograd(mlp, x, loss=loss_of)
    ledger = memory(mlp, x, loss=loss_of)
    return Autograd(
        tensors={name: made(tensor, alone[name]) for name, tensor in tensors.items()},
        nodes=[row_of(node) for node in graph.nodes],
        leaves=sorted(leaf for node in graph.nodes for leaf in node.leaves),
        parameters=sorted(name for name, _ in mlp.named_parameters()),
        by_hand=float((slope @ mlp.down_proj.weight - once).detach().abs().max()),
        twice=float(active.grad.norm() / once.norm()),
        refused=refused,
        saved=ledger.entries["saved activations"],
        gradients=ledger.entries["gradients"],
        left=ledger.moments[-1].measured - ledger.moments[0].measured,
    )


def forward(mlp: MLP, x: Tensor) -> dict[str, Tensor]:
    """Returns the tensors of one pass, in the order in which they are made."""
    active = mlp.activation(hidden := mlp.up_proj(x))
    output = mlp.down_proj(active)
    leaves = {"x": x, "up_proj.weight": mlp.up_proj.weight, "down_proj.bias": mlp.down_proj.bias}
    return {**leaves, "hidden": hidden, "active": active, "output": output, "loss": output.square().mean()}


def loss_of(mlp: nn.Module, x: Tensor) -> Tensor:
    """The mean of the squared outputs."""
    return mlp(x).square().mean()


def made(tensor: Tensor, alone: Tensor) -> Made:
    """Describes a tensor; ``alone`` is the same one where a single bias requires a gradient."""
    kind = "" if tensor.grad_fn is None else tensor.grad_fn.name()
    keeps = tensor.is_leaf or tensor.retains_grad  # whoever asks another tensor for its ``grad`` is warned
    return Made(tensor.is_leaf, kind, tensor.requires_grad, alone.requires_grad, keeps and tensor.grad is not None)


def row_of(node: GraphNode) -> list[str]:
    """Returns a node as texts: itself, its module, where its gradients go, bytes that it saved."""
    goes_to = ", ".join([f"#{number}" for number in node.inputs] + node.leaves)
    saved = sum(tensor.bytes for tensor in node.saved if not tensor.parameter)
    return [f"#{node.number} {node.operator}", node.module, goes_to, f"{saved:,}" if saved else ""]


def check(measured: Autograd) -> Claims:
    """Returns whether each sentence of the answer holds."""
    tensors = measured.tensors
    kept = [name for name, each in tensors.items() if each.has_grad]
    results = [tensors[name] for name in ("hidden", "active", "output", "loss")]
    needs, alone = [[each.requires_grad, each.if_bias_alone] for each in results], [False, False, True, True]
    return {
        "leaf": all(each.is_leaf == (each.grad_fn == "") != (each in results) for each in tensors.values()),
        "inferred": not tensors["x"].requires_grad and needs == [[True, each] for each in alone],
        "graph": measured.leaves == measured.parameters,
        "kept": kept == ["up_proj.weight", "down_proj.bias", "active"],
        "retained": measured.by_hand < 1e-6,
        "added": abs(measured.twice - 2) < 1e-3,
        "freed": measured.saved > 0 and measured.left < measured.gradients + 8 and "second time" in measured.refused,
    }


def facts(measured: Autograd) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    nodes, leaves, saved = str(len(measured.nodes)), str(len(measured.leaves)), f"{measured.saved:,}"
    return {"guess": leaves, "nodes": nodes, "leaves": leaves, "saved": saved, "refused": measured.refused}


def show(measured: Autograd, say: Say) -> list[Part]:
    """Returns a table of the tensors, and the graph."""
    words = {True: say("yes"), False: "-"}
    rows = []
    for name, each in measured.tensors.items():
        needs = (words[each.requires_grad], words[each.if_bias_alone])
        rows.append((name, words[each.is_leaf], *needs, each.grad_fn, words[each.has_grad]))
    columns = (say("tensor"), "is_leaf", "requires_grad", say("alone"), "grad_fn", ".grad")
    graph = (say("node"), say("module"), say("goes_to"), f">{say('saved')}")
    return [Table(say("table"), columns, rows), Table(say("graph"), graph, [tuple(row) for row in measured.nodes])]
