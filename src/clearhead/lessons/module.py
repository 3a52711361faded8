"""When a submodule becomes one: what ``nn.Module`` does at each assignment, and what it misses.

A layer of clearhead is made while every assignment in its ``__init__`` is listed, with where the value went. A pair of
layers in a plain list shows what is missed, as ``clearhead.inspect.model`` tells it too.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Part, Table
from clearhead.inspect.modules import model
from clearhead.lessons.lesson import Claims, Say
from clearhead.nn.layer import BlockConfig, EncoderLayer
from clearhead.nn.norm import BatchNorm
from clearhead.nn.position import Rotary

LIMITS = {"heads": (1, 64)}
PLACES = {"Parameter": "parameters", "Tensor": "buffers"} | dict.fromkeys(("int", "float", "NoneType"), "attribute")


class Traced(nn.Module):
    """Lists what is assigned: class, name, kind of value, and where the module keeps it then."""

    log: ClassVar[list[list[str]]] = []

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        self.log.append([type(self).__name__, name, type(value).__name__, place_of(self, name)])

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """See ``nn.Module``."""
        super().register_buffer(name, tensor, persistent)
        self.log.append([type(self).__name__, name, "Tensor", place_of(self, name)])


@dataclass(frozen=True)
class Module:
    """What was measured."""

    trace: list[list[str]]
    early: str
    """Error of an assignment before ``super().__init__()``."""
    unregistered: list[str]
    """What the layer has and does not know of."""
    pairs: dict[str, dict[str, int]]
    methods: dict[str, int]
    """What methods of the layer count."""


def run(*, heads: int = 2) -> Module:
    """Makes a layer of ``heads`` heads under observation, and two pairs."""
    Traced.log.clear()
    rotary = Rotary(4, max_seq_len=16)
    traced_layer: Any = type("EncoderLayer", (Traced, EncoderLayer), {})
    layer = traced_layer(4 * heads, n_heads=heads, d_ff=8, block=BlockConfig(norm="batch"), rotary=rotary)
    traced_norm: Any = type("BatchNorm", (Traced, BatchNorm), {})
    traced_norm(4, eps=1e-5)
    trace, early, bare = list(Traced.log), "", nn.Module.__new__(nn.Module)
    try:
        bare.layer = nn.Linear(1, 1)
    except AttributeError as error:
        early = str(error)
    unregistered = [f"{info.name}.{name}" for info in model(layer).modules for name in info.unregistered]
    return Module(trace, early, unregistered, {name: pair(name) for name in ("plain", "registered")}, methods_of(layer))


def place_of(module: nn.Module, name: str) -> str:
    """Returns where a module keeps an attribute."""
    parameters, buffers = module.named_parameters(recurse=False), module.named_buffers(recurse=False)
    kept = {"parameters": parameters, "buffers": buffers, "modules": module.named_children()}
    return next((place for place, members in kept.items() if name in dict(members)), "attribute")


def pair(kept: str) -> dict[str, int]:
    """Makes a module with two layers and a tensor; returns how many of them its methods and the view of it reach."""
    both, layers = nn.Module(), [nn.Linear(4, 4), nn.Linear(4, 4)]
    keeper: Any = both
    if kept == "plain":
        keeper.layers, keeper.scale = layers, torch.ones(4)
    else:
        keeper.layers = nn.ModuleList(layers)
        keeper.register_buffer("scale", torch.ones(4))
    unregistered, parameters = model(both).modules[0].unregistered, list(both.parameters())
    state, double = len(both.state_dict()), int(keeper.double().scale.dtype == torch.double)
    return {"parameters()": len(parameters), "state_dict()": state, "double()": double, "view": len(unregistered)}


def methods_of(layer: nn.Module) -> dict[str, int]:
    """Calls the methods that one meets first; those that change the layer come last."""
    visited: list[nn.Module] = []
    layer.apply(visited.append)
    return {
        "children()": len(list(layer.children())),
        "modules()": len(list(layer.modules())),
        "apply(function)": len(visited),
        "parameters()": len(list(layer.parameters())),
        "buffers()": len(list(layer.buffers())),
        "state_dict()": len(layer.state_dict()),
        "load_state_dict({}, strict=False)": len(layer.load_state_dict({}, strict=False).missing_keys),
        "eval()": sum(module.training for module in layer.eval().modules()),
        "requires_grad_(False)": sum(weight.requires_grad for weight in layer.requires_grad_(False).parameters()),
    }


def check(measured: Module) -> Claims:
    """Returns whether each sentence of the answer holds."""
    trace, of, pairs = measured.trace, measured.methods, measured.pairs
    mlp = [[kind, place] for _, name, kind, place in trace if name == "mlp"]
    buffers = [name for kind, name, _, place in trace if kind == "BatchNorm" and place == "buffers"]
    saved = of["state_dict()"] - of["parameters()"]
    return {
        "when": len(trace) > 9 and all(place == PLACES.get(kind, "modules") for _, _, kind, place in trace),
        "none": mlp == [["NoneType", "attribute"], ["MLP", "modules"]],
        "buffers": buffers == ["running_mean", "running_var"] and (saved, of["buffers()"]) == (4, 6),
        "early": "before Module.__init__() call" in measured.early,
        "lost": list(pairs["plain"].values()) == [0, 0, 0, 3],
        "kept": list(pairs["registered"].values()) == [4, 5, 1, 0] and measured.unregistered == [],
        "methods": of["children()"] < of["modules()"] == of["apply(function)"]
        and of["load_state_dict({}, strict=False)"] == of["state_dict()"]
        and of["eval()"] == of["requires_grad_(False)"] == 0,
    }


def facts(measured: Module) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    of = measured.methods
    counts = {"modules": of["modules()"], "children": of["children()"], "state": of["state_dict()"]}
    counts |= {"saved": of["state_dict()"] - of["parameters()"], "buffers": of["buffers()"]}
    counts["guess"] = measured.pairs["plain"]["parameters()"]
    return {"early": measured.early, **{name: str(count) for name, count in counts.items()}}


def show(measured: Module, say: Say) -> list[Part]:
    """Returns the trace, what the pairs reach, and the sheet of methods."""
    trace = [(*line[:3], say(line[3])) for line in measured.trace]
    plain, registered = measured.pairs["plain"], measured.pairs["registered"]
    pairs = [(say("view") if name == "view" else name, str(plain[name]), str(registered[name])) for name in plain]
    methods = [(name, say(name.partition("(")[0] + "_counts"), str(count)) for name, count in measured.methods.items()]
    return [
        Table(say("trace"), (say("class"), say("name"), say("value"), say("place")), trace),
        Table(say("pairs"), (say("method"), f">{say('plain')}", f">{say('registered')}"), pairs),
        Table(say("sheet"), (say("method"), say("does"), f">{say('count')}"), methods),
    ]
