"""Smaller forms of an ONNX graph, by ONNX Runtime's own tools: 8 bits, and 4 bits in blocks of 32 with a scale each."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantType, quantize_dynamic

from clearhead.export.onnx.write import Quantization

_TABLE = "tokens.weight"  # of pieces; those of positions and rotations stay as they are
_BLOCK = 32


def quantized(model: ModelProto, kind: Quantization) -> ModelProto:
    """Returns ``model`` with its products in fewer bits, and with ``q8`` its table of pieces too.

    Args:
        model: with a matrix of its own for each product; it is not used afterwards.
        kind: ``q8`` or ``q4``.
    """
    smaller = _eight_bits(model) if kind == "q8" else _four_bits(model)
    for node in smaller.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return smaller


def _eight_bits(model: ModelProto) -> ModelProto:
    gathers = [node for node in model.graph.node if node.op_type == "Gather"]
    kept = [node.name for node in gathers if not node.input[0].endswith(_TABLE)]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "quantized.onnx"
        # the projections of a translator's memory stand in a subgraph
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul", "Gather"],
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=kept,
            extra_options={"EnableSubgraph": True},
        )
        return onnx.load(path)


def _four_bits(model: ModelProto) -> ModelProto:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    with _quiet():  # without accuracy_level 4 products are computed in float32: three times as long
        quantizer = MatMulNBitsQuantizer(model, block_size=_BLOCK, is_symmetric=True, accuracy_level=4)
        quantizer.process()
    smaller: ModelProto = quantizer.model.model
    return smaller


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps advice for other models off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
