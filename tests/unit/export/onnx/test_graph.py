"""A graph under construction: a weight once, names as in the model, an output under the name that it is given."""

import numpy as np
import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from clearhead.export.onnx.graph import FLOAT, Graph  # noqa: E402


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.arange(6.0).view(3, 2))
        self.register_buffer("copy", torch.arange(6.0).view(3, 2))


def weights(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {weight.name: tuple(weight.dims) for weight in graph.model("m").graph.initializer}


def product(shared: bool) -> Graph:
    """x @ table.T + 0 * table's first row, with x [batch, 2]."""
    model = Tied()
    graph = Graph(23, model, shared=shared)
    x = graph.input("x", FLOAT, ("batch", 2))
    rows = graph.op("Gather", graph.weight(model.table), graph.ints(0))
    scaled = graph.op("Mul", rows, graph.number(0.0))
    assert graph.weight(model.copy) == graph.weight(model.table), "equal numbers are one weight"
    out = graph.op("MatMul", graph.op("Add", x, scaled), graph.matrix([model.table]))
    graph.output(out, "y", FLOAT, ("batch", 3))
    return graph


@pytest.mark.parametrize("shared", [True, False])
def test_a_tied_table_is_held_once_or_beside_its_transposed(shared: bool) -> None:
    graph = product(shared)
    tables = {name: shape for name, shape in weights(graph).items() if len(shape) == 2}
    assert tables == ({"table": (3, 2)} if shared else {"table": (3, 2), "table_1": (2, 3)})
    model = graph.model("m")
    onnx.checker.check_model(model, full_check=True)
    session = runtime.InferenceSession(model.SerializeToString())
    (result,) = session.run(None, {"x": np.array([[1.0, 0.0]], np.float32)})
    assert result.tolist() == [[0.0, 2.0, 4.0]]
    assert [value.name for value in session.get_outputs()] == ["y"]


def test_a_branch_shares_weights_and_names_with_the_graph_around_it() -> None:
    graph = Graph(18, nn.Module())
    flag = graph.input("flag", onnx.TensorProto.BOOL, (1,))
    branches = []
    for value in (1.0, 2.0):
        inner = graph.inner()
        inner.output(inner.op("Add", graph.number(value), graph.number(1.0)), f"sum_{value}", FLOAT, None)
        branches.append(inner)
    (out,) = graph.ops("If", flag, outputs=1, then_branch=branches[0].proto("a"), else_branch=branches[1].proto("b"))
    graph.output(out, "y", FLOAT, ())
    model = graph.model("m")
    assert sorted(weights(graph).values()) == [(), ()]
    names = [node.name for node in model.graph.node] + [branch.nodes[0].name for branch in branches]
    assert len(set(names)) == len(names)
    session = runtime.InferenceSession(model.SerializeToString())
    assert [float(session.run(None, {"flag": np.array([flag])})[0]) for flag in (True, False)] == [2.0, 3.0]


def test_what_no_node_reads_is_left_out() -> None:
    graph = Graph(18, nn.Module())
    graph.number(5.0)
    assert weights(graph) == {}


def test_two_weights_of_one_name_are_told_apart() -> None:
    graph = Graph(18, nn.Module())
    first, second = (graph.weight(torch.full((2,), value)) for value in (1.0, 2.0))
    graph.op("Add", first, second)
    assert len(weights(graph)) == 2
