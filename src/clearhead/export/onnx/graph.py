"""An ONNX graph under construction: a weight is written once, and nothing says on which machine it was made."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from clearhead.version import VERSION

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Axes = Sequence[str | int]
"""Sizes of a tensor; those that differ from call to call have names."""


class Graph:
    """Nodes in the order in which they compute; a value is known by its name.

    Args:
        opset: version of the standard operators.
        model: whose weights keep their names.
        shared: whether the output layer reads the table of embeddings that it is tied to. Quantizers need a matrix of
            its own.
    """

    def __init__(self, opset: int, model: nn.Module, *, shared: bool = True) -> None:
        self.opset, self.shared = opset, shared
        self.nodes: list[NodeProto] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.initializers: list[TensorProto] = []
        self._known: dict[bytes, str] = {}  # by content
        self._counts: Counter[str] = Counter()
        named = [*model.named_buffers(), *model.named_parameters()]
        self._names = {id(tensor): name for name, tensor in named}

    def inner(self) -> "Graph":
        """Returns an empty graph for a branch of this one, which holds the weights for both."""
        graph = Graph(self.opset, nn.Module(), shared=self.shared)
        graph.initializers, graph._known = self.initializers, self._known
        graph._counts, graph._names = self._counts, self._names
        return graph

    def input(self, name: str, kind: int, axes: Axes) -> str:
        """Declares an input and returns its name."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(axes)))
        return name

    def output(self, value: str, name: str, kind: int, axes: Axes | None) -> None:
        """Declares ``value``, which a node computes, as an output called ``name``."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for at, own in enumerate(names):
                    names[at] = name if own == value else own
        self.outputs.append(helper.make_tensor_value_info(name, kind, None if axes is None else list(axes)))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output, which is returned."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Adds a node with several outputs, which are returned."""
        name = self._fresh(kind)
        results = [name] if outputs == 1 else [f"{name}.{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, results, name=name, **attributes))
        return results

    def weight(self, tensor: Tensor) -> str:
        """Returns the name under which the graph holds a parameter, buffer or number of a module, as float32."""
        return self._held(tensor.detach().float().cpu().numpy(), self._names.get(id(tensor), "weight"))

    def matrix(self, weights: Sequence[Tensor]) -> str:
        """Returns the transposed rows of all ``weights``, a table that the graph holds already by a node."""
        (first, *further) = weights
        content = np.ascontiguousarray(first.detach().float().cpu().numpy())
        if self.shared and not further and (table := self._known.get(_digest(content))):
            return self.op("Transpose", table, perm=[1, 0])
        joined = torch.cat([weight.detach().float() for weight in weights]).T.cpu().numpy()
        return self._held(joined, self._names.get(id(first), "weight"))

    def ints(self, *values: int) -> str:
        """Returns a row of whole numbers."""
        return self._held(np.array(values, dtype=np.int64), "ints")

    def whole(self, value: int) -> str:
        """Returns one whole number, without axes."""
        return self._held(np.array(value, dtype=np.int64), "int")

    def number(self, value: float) -> str:
        """Returns one number, without axes."""
        return self._held(np.array(value, dtype=np.float32), "number")

    def size(self, value: str, axis: int) -> str:
        """Returns the size of an axis of ``value``, without axes."""
        return self.op("Squeeze", self.op("Shape", value, start=axis, end=axis + 1))

    def proto(self, name: str) -> GraphProto:
        """Returns the graph with its own weights; those of a branch belong to the graph around it."""
        return helper.make_graph(self.nodes, name, self.inputs, self.outputs)

    def model(self, name: str) -> ModelProto:
        """Returns the whole model."""
        graph, opsets = self.proto(name), [helper.make_opsetid("", self.opset)]
        used = {name for node in _all_nodes(graph) for name in node.input}
        graph.initializer.extend(weight for weight in self.initializers if weight.name in used)
        return helper.make_model(
            graph,
            producer_name="clearhead",
            producer_version=VERSION,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
        )

    def _held(self, content: NDArray[Any], stem: str) -> str:
        content = np.ascontiguousarray(content).reshape(content.shape)  # which gives a number without axes one
        digest = _digest(content)
        if digest not in self._known:
            taken = stem in self._counts or stem in ("ints", "int", "number", "weight")
            self._known[digest] = self._fresh(stem) if taken else stem
            self._counts[stem] += not taken
            self.initializers.append(numpy_helper.from_array(content, self._known[digest]))
        return self._known[digest]

    def _fresh(self, stem: str) -> str:
        self._counts[stem] += 1
        return f"{stem}_{self._counts[stem] - 1}"


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yields the nodes of a graph and of the branches in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from _all_nodes(attribute.g)


def _digest(content: NDArray[Any]) -> bytes:
    return hashlib.sha256(repr((content.dtype.str, content.shape)).encode() + content.tobytes()).digest()
