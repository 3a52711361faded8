"""What a traced graph, such as one of ONNX, has frozen: sizes, numbers, branches; and why its cache is an input."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from clearhead.drawing.report import Curves, Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.cache import LayerCache

LIMITS = {"steps": (2, 60), "n_layers": (1, 4)}
SHORT = {"n_layers": 1}
PIECES, LONGEST, HEADS, HEAD_DIM = 50, 64, 2, 16
BEFORE, AFTER = 2.0, 3.0  # a number of Python's, traced and later


class Grown(LayerCache):
    """A layer's cache that is put together anew, since a graph keeps nothing between two calls."""

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Returns keys and values of all pieces."""
        cache: Any = self.parent
        cache.present[self.index] = torch.cat([cache.past[self.index], torch.stack([keys, values])], dim=3)
        return cache.present[self.index][0], cache.present[self.index][1]


class Step(nn.Module):
    """One step of a GPT, whose cache comes in and goes out."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Returns logits of the new piece, and keys and values of all pieces, for the next step."""
        cache: Any = self.model.new_cache(rows=1)  # only its layers are used
        cache.past, cache.present, cache.layers = past, {}, [Grown(cache, index) for index in range(len(past))]
        logits = self.model(ids, cache=cache, positions=torch.full_like(ids, past.shape[4]))
        return logits, torch.stack([*cache.present.values()])


class Multiply(nn.Module):
    """Depends on a number and a branch of Python's."""

    factor, negates = BEFORE, False

    def forward(self, x: Tensor) -> Tensor:
        """Returns a multiple."""
        return -self.factor * x if self.negates else self.factor * x


@dataclass(frozen=True)
class Graphs:
    """What was measured."""

    inputs: dict[str, str]
    """Of the graph of a step, with their sizes."""
    said: dict[str, str]
    """What is said against an input that does not fit; nothing if it does."""
    factors: tuple[float, float]
    """By which the changed module multiplies, and by which the graph that was traced before."""
    kept: dict[str, list[float]]
    """Distance of a graph's logits from those of the whole text at each step: with the cache handed on, and without."""
    more_rows: float
    """The largest such distance with more rows."""


def run(*, steps: int = 12, n_layers: int = 2, seed: int = 0) -> Graphs:
    """Traces a step of a GPT with fixed and with dynamic sizes, and a small module; then changes what was traced."""
    torch.manual_seed(seed)
    config = GPTConfig(d_model=HEADS * HEAD_DIM, n_heads=HEADS, n_layers=n_layers, max_seq_len=LONGEST, dropout=0.0)
    model, ids = GPT(config, vocab_size=PIECES).eval(), torch.randint(PIECES, (5, steps))
    past = torch.zeros(n_layers, 2, 2, HEADS, 3, HEAD_DIM)  # the 2 are keys and values; then rows, heads, positions
    rows, length = Dim("rows", max=1024), Dim("length", max=LONGEST - 1)
    fixed = export(Step(model), (ids[:2, :1], past))
    step = export(Step(model), (ids[:2, :1], past), dynamic_shapes=({0: rows}, {2: rows, 4: length}))
    multiply, x = Multiply(), torch.ones(1)
    graph = export(multiply, (x,)).module()
    multiply.factor, multiply.negates = AFTER, True
    longer = torch.cat([past, past], 4)
    tries = {"same": (fixed, [past]), "longer": (fixed, [longer]), "named": (step, [longer]), "missing": (step, [])}
    said = {name: said_by(its.module(), ids[:2, :1], *caches) for name, (its, caches) in tries.items()}
    kept = {name: distances(step, model, ids[:1], keep=name == "cached") for name in ("cached", "forgotten")}
    more_rows = max(distances(step, model, ids, keep=True))
    return Graphs(sizes_of(step), said, (float(multiply(x)), float(graph(x))), kept, more_rows)


def said_by(graph: nn.Module, *inputs: Tensor) -> str:
    """Returns what a graph says against inputs; nothing if it takes them."""
    try:
        graph(*inputs)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0].strip()}"
    return ""


@torch.no_grad()
def distances(step: ExportedProgram, model: GPT, ids: Tensor, *, keep: bool) -> list[float]:
    """Reads a text piece by piece with the graph; returns how far its logits are from those of the whole text."""
    graph, whole, result = step.module(), model(ids), []
    past = empty = torch.zeros(len(model.layers), 2, len(ids), HEADS, 0, HEAD_DIM)
    for at in range(ids.shape[1]):
        logits, present = graph(ids[:, at : at + 1], past)
        result.append(float((logits[:, 0] - whole[:, at]).abs().max()))
        past = present if keep else empty
    return result


def sizes_of(step: ExportedProgram) -> dict[str, str]:
    """Returns the inputs of the graph of a step with their sizes: numbers, or names of those that may change."""
    inputs = step.graph_signature.user_inputs
    sizes = {node.name: node.meta["val"].shape for node in step.graph.nodes if node.name in inputs}
    names = {str(sizes["ids"][0]): "rows", str(sizes["past"][4]): "length"}
    return {name: " x ".join(names.get(str(size), str(size)) for size in shape) for name, shape in sizes.items()}


def check(measured: Graphs) -> Claims:
    """Returns whether each sentence of the answer holds."""
    said, kept = measured.said, measured.kept
    return {
        "fixed": said["same"] == "" and "Guard failed" in said["longer"],
        "dynamic": said["named"] == "" and measured.more_rows < 1e-5 and "length" in measured.inputs["past"],
        "inputs": said["missing"] != "" and list(measured.inputs) == ["ids", "past"],
        "frozen": measured.factors == (-AFTER, BEFORE),
        "cached": max(kept["cached"]) < 1e-5,
        "forgotten": max(kept["forgotten"]) > 1e3 * max(kept["cached"]),
    }


def facts(measured: Graphs) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    after, before = (f"{factor:g}" for factor in measured.factors)
    texts = {name: f"{max(distance):.1g}" for name, distance in measured.kept.items()}
    return {"guess": before, "before": before, "after": after, "error": measured.said["longer"], **texts}


def show(measured: Graphs, say: Say) -> list[Part]:
    """Returns the inputs of the graph, what is said against others, and the distances at each step."""
    said = [(say(name), text or say("works")) for name, text in measured.said.items()]
    curves = {say(name): distance for name, distance in measured.kept.items()}
    steps = [1.0 + at for at in range(len(measured.kept["cached"]))]
    return [
        Table(say("graph"), (say("input"), say("sizes")), [*measured.inputs.items()]),
        Table(say("given"), (say("what"), say("said")), said),
        Curves(say("distance"), say("step"), steps, curves),
    ]
