"""What ``eval``, ``no_grad`` and ``inference_mode`` change: two switches of different things.

A layer of clearhead with dropout and a batch norm runs in all six combinations of mode and gradients. ``train`` and
``eval`` are a flag that modules look at; ``no_grad`` and ``inference_mode`` tell autograd whether to record.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clearhead.drawing.report import Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.meter.live import Live
from clearhead.nn.layer import BlockConfig, CausalLayer
from clearhead.nn.norm import norms_of

LIMITS = {"batch": (1, 16), "seq": (2, 64), "dropout": (0.0, 0.9)}
D_MODEL = 32
TRAIN, EVAL = ("train", "train, no_grad", "train, inference_mode"), ("eval", "eval, no_grad", "eval, inference_mode")


@dataclass(frozen=True)
class Setting:
    """Of one forward pass."""

    graph: bool
    """Whether its output has a ``grad_fn``."""
    kept: int
    """Bytes that are alive afterwards and were not before."""
    varies: float
    """Largest difference of two passes over the same input."""
    statistics: float
    """By how much a pass moved the running statistics of the norms."""
    off: float
    """Largest difference of the output from that of ``eval``."""


@dataclass(frozen=True)
class NoGrad:
    """What was measured."""

    output: int
    """Bytes of an output."""
    settings: dict[str, Setting]
    later: dict[str, str]
    """Error of training on what a pass without gradients gave, by the way in which they were off."""


def run(*, batch: int = 2, seq: int = 16, dropout: float = 0.1, seed: int = 0) -> NoGrad:
    """Runs the layer on a batch in each setting."""
    torch.manual_seed(seed)
    block = BlockConfig(norm="batch")
    layer = CausalLayer(D_MODEL, n_heads=4, d_ff=64, dropout=dropout, block=block)
    x = torch.randn(batch, seq, D_MODEL)
    plain = layer.eval()(x).detach()
    settings = {}
    for name in (*TRAIN, *EVAL):
        layer.train(name in TRAIN)
        settings[name] = look(layer, x, name, plain)
    later = {}
    for name in EVAL[1:]:
        with gradients(name):
            states = layer.eval()(x)
        later[name] = error_of(layer, states)
    return NoGrad(4 * plain.numel(), settings, later)


def gradients(name: str) -> Any:
    """Returns the context that a setting names."""
    if "inference_mode" in name:
        return torch.inference_mode()
    return torch.no_grad() if "no_grad" in name else torch.enable_grad()


def look(layer: CausalLayer, x: Tensor, name: str, plain: Tensor) -> Setting:
    """Runs the layer twice, and compares what is alive and what has moved."""
    statistics = [buffer for norm in norms_of(layer) for buffer in norm.buffers()]
    before = [buffer.clone() for buffer in statistics]
    live = Live({"before": [*layer.parameters(), *layer.buffers(), x]})
    with gradients(name):
        start = live.total
        with live:
            output = layer(x)
        kept = live.total - start
        moved = max(float((buffer - old).abs().max()) for buffer, old in zip(statistics, before, strict=True))
        varies = float((layer(x) - output).detach().abs().max())
    for buffer, old in zip(statistics, before, strict=True):
        buffer.copy_(old)
    return Setting(output.grad_fn is not None, kept, varies, moved, float((output - plain).detach().abs().max()))


def error_of(layer: CausalLayer, states: Tensor) -> str:
    """Trains the layer on ``states``; returns the error, empty if there is none."""
    try:
        layer(states).square().mean().backward()
    except RuntimeError as error:
        return str(error).partition(". ")[0]
    return ""


def check(measured: NoGrad) -> Claims:
    """Returns whether each sentence of the answer holds."""
    of, evaluated = measured.settings, [measured.settings[name] for name in EVAL]
    silent = [its for name, its in of.items() if "," in name]
    return {
        "graph": of["eval"].graph and of["train"].graph and not any(its.graph for its in silent),
        "memory": of["eval"].kept > 4 * measured.output and all(its.kept == measured.output for its in silent),
        "dropout": all(of[name].varies > 0.05 for name in TRAIN) and all(its.varies == 0 for its in evaluated),
        "norms": all(of[name].statistics > 1e-3 for name in TRAIN) and all(its.statistics == 0 for its in evaluated),
        "same": all(its.off < 1e-6 for its in evaluated) and all(of[name].off > 0.05 for name in TRAIN),
        "inference": measured.later[EVAL[1]] == "" and "nference tensors" in measured.later[EVAL[2]],
    }


def facts(measured: NoGrad) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    return {
        "guess": f"{measured.settings['eval'].kept:,}",
        "kept": f"{measured.settings['eval'].kept:,}",
        "output": f"{measured.settings['eval, no_grad'].kept:,}",
        "varies": f"{measured.settings['train, no_grad'].varies:.2f}",
        "statistics": f"{measured.settings['train, no_grad'].statistics:.3f}",
        "error": measured.later[EVAL[2]],
    }


def show(measured: NoGrad, say: Say) -> list[Part]:
    """Returns a table with a row for each setting."""
    words = {True: say("yes"), False: "-"}
    rows = [
        (name, words[its.graph], f"{its.kept:,}", f"{its.varies:.2f}", f"{its.statistics:.3f}", f"{its.off:.2f}")
        for name, its in measured.settings.items()
    ]
    columns = (say("setting"), say("graph"), *(f">{say(name)}" for name in ("kept", "varies", "statistics", "off")))
    return [Table(say("table"), columns, rows)]
