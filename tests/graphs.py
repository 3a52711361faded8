"""ONNX graphs of small models, loaded: what the tests of their writer share."""

from pathlib import Path
from typing import Any

import torch

from clearhead.export.onnx.check import Session, check_grid
from clearhead.export.onnx.models import Exportable, Unit, build, graphs_of
from clearhead.models.bert import Bert, BertClassifier, BertConfig, BertPretraining, build_bert
from clearhead.nn.layer import BlockConfig
from tests.small import VOCAB, shake

OPSETS = (18, 23)


def small_bert(kind: Any, *, block: BlockConfig | None = None, **sizes: Any) -> Bert | BertPretraining | BertClassifier:
    """Returns a shaken random encoder in evaluation mode."""
    torch.manual_seed(0)
    plain: dict[str, Any] = {"d_model": 16, "d_ff": 24, "n_heads": 4, "n_layers": 1, "max_seq_len": 5, "dropout": 0.0}
    config = BertConfig(**{**plain, **sizes}, block=block or BlockConfig(norm_position="post", activation="gelu"))
    model = build_bert(kind, config, vocab_size=VOCAB, n_labels=1 if kind == "regression" else 3)
    shake(model)
    return model.eval()


def loaded(model: Exportable, folder: Path, opset: int, *, unit: Unit | None = None) -> dict[str, Session]:
    """Writes the graphs of a model and loads them in ONNX Runtime."""
    sessions = {}
    for name, write in graphs_of(model, unit or Unit()).items():
        path = folder / f"{name}-{opset}.onnx"
        path.write_bytes(build(model, write, opset).SerializeToString())
        sessions[name] = Session(path)
    return sessions


def assert_same_there(model: Exportable, folder: Path, opset: int, *, unit: Unit | None = None) -> None:
    """The graphs compute what the model does, over the grid of shapes and padding."""
    check_grid(model, loaded(model, folder, opset, unit=unit), unit or Unit())
