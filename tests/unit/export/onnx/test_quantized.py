"""Smaller forms: what is stored in fewer bits, what is not, and that ONNX Runtime reads any size."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.graphs import loaded, small_bert
from tests.small import assert_near, small

onnx_quantized = pytest.importorskip("clearhead.export.onnx.quantized", reason="onnxruntime is not installed")
onnx_models = pytest.importorskip("clearhead.export.onnx.models", reason="onnx is not installed")
onnx_check = pytest.importorskip("clearhead.export.onnx.check", reason="onnxruntime is not installed")
pytestmark = pytest.mark.unchecked


def smaller(model: Any, name: str, kind: Any, opset: int = 23) -> Any:
    write = onnx_models.graphs_of(model, onnx_models.Unit())[name]
    return onnx_quantized.quantized(onnx_models.build(model, write, opset, shared=False), kind)


def nodes(graph: Any) -> list[Any]:
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.g.node]
    return [*graph.node, *(node for branch in inner for node in nodes(branch))]


@pytest.mark.parametrize(("kind", "product"), [("q8", "MatMulInteger"), ("q4", "MatMulNBits")])
def test_every_product_with_a_weight_is_stored_so(kind: Any, product: str) -> None:
    """Those of the memory too, which stand in a branch."""
    proto = smaller(small(), "decoder_model_merged", kind)
    kinds = [node.op_type for node in nodes(proto.graph)]
    assert kinds.count(product) == 2 * (2 + 3 + 2) + 1
    assert "MatMul" not in kinds
    assert not [node for node in nodes(proto.graph) if node.doc_string or node.metadata_props]


def test_four_bits_are_multiplied_as_whole_numbers() -> None:
    proto = smaller(small_bert("masked"), "model", "q4")
    products = [node for node in nodes(proto.graph) if node.op_type == "MatMulNBits"]
    levels = [{part.name: part.i for part in node.attribute}["accuracy_level"] for node in products]
    assert levels == [4] * len(products)
    assert levels


def test_positions_stay_as_they_are() -> None:
    """In 8 bits an angle would be off by a hundredth of a turn."""
    proto = smaller(small(position="rotary"), "encoder_model", "q8")
    kept = {weight.name for weight in proto.graph.initializer if weight.data_type == 1}
    assert {name for name in kept if name.endswith((".cos", ".sin"))} == {
        "encoder.layers.0.attn.rotary.cos",
        "encoder.layers.0.attn.rotary.sin",
    }
    assert not [name for name in kept if name.endswith("tokens.weight")]


@pytest.mark.parametrize(("kind", "near"), [("q8", 0.05), ("q4", 0.25)])
@pytest.mark.parametrize("d_model", [20, 64])
def test_a_size_that_is_no_whole_block_is_read_too(kind: Any, near: float, d_model: int, tmp_path: Path) -> None:
    model = small_bert("encoder", d_model=d_model, d_ff=36)
    path = tmp_path / "smaller.onnx"
    path.write_bytes(smaller(model, "model", kind, 18).SerializeToString())
    whole = loaded(model, tmp_path, 18)["model"]
    ids = torch.arange(8).view(2, 4)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    results = [session.run(**given)["last_hidden_state"] for session in (onnx_check.Session(path), whole)]
    assert_near(*results, near)
    assert not torch.equal(*results)


def test_the_advice_for_other_models_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    smaller(small_bert("encoder"), "model", "q8")
    assert caplog.records == []
    logging.getLogger().warning("a warning")
    assert len(caplog.records) == 1, "others are shown again"
