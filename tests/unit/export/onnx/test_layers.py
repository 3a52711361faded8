"""Every word of the closed sets as nodes: ONNX Runtime computes from them what the module does, at both opsets."""

from pathlib import Path
from typing import Any, get_args

import pytest
from torch import nn

from clearhead.errors import ModelError
from clearhead.nn.activation import ActivationName
from clearhead.nn.attention import AttentionName
from clearhead.nn.layer import BlockConfig
from clearhead.nn.norm import NormName
from clearhead.nn.position import PositionName
from tests.graphs import OPSETS, assert_same_there, small_bert

onnx_graph = pytest.importorskip("clearhead.export.onnx.graph", reason="onnx is not installed")
onnx_layers = pytest.importorskip("clearhead.export.onnx.layers", reason="onnx is not installed")
pytestmark = pytest.mark.unchecked


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("activation", get_args(ActivationName))
def test_every_activation(activation: Any, opset: int, tmp_path: Path) -> None:
    assert_same_there(small_bert("masked", block=BlockConfig(activation=activation)), tmp_path, opset)


@pytest.mark.parametrize(("place", "opset"), [("pre", 18), ("post", 23)])
@pytest.mark.parametrize("norm", get_args(NormName))
def test_every_norm(norm: Any, place: Any, opset: int, tmp_path: Path) -> None:
    block = BlockConfig(norm=norm, norm_position=place, norm_groups=4)
    assert_same_there(small_bert("sequence", block=block), tmp_path, opset)


@pytest.mark.parametrize(("kv_heads", "opset"), [(4, 18), (2, 23)])
@pytest.mark.parametrize("attention", get_args(AttentionName))
def test_every_attention(attention: Any, kv_heads: int, opset: int, tmp_path: Path) -> None:
    model = small_bert("encoder", block=BlockConfig(attention=attention), n_kv_heads=kv_heads)
    assert_same_there(model, tmp_path, opset)


@pytest.mark.parametrize("position", get_args(PositionName))
def test_every_position(position: Any, tmp_path: Path) -> None:
    assert_same_there(small_bert("pretraining", position=position), tmp_path, 18)


@pytest.mark.parametrize("words", [{"bias": False}, {"bias": "all"}, {"residual": False}, {"mlp": False}])
def test_what_a_block_may_lack(words: dict[str, Any], tmp_path: Path) -> None:
    assert_same_there(small_bert("encoder", block=BlockConfig(**words)), tmp_path, 23)


def test_a_module_from_elsewhere_is_refused_by_its_name() -> None:
    graph = onnx_graph.Graph(23, nn.Module())
    with pytest.raises(ModelError, match="a Hardswish is not among the modules that are written"):
        onnx_layers.activation(graph, nn.Hardswish(), "x")
    with pytest.raises(ModelError, match="a BatchNorm1d is not among"):
        onnx_layers.norm(graph, nn.BatchNorm1d(4), "x", "real")
