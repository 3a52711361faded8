"""ONNX Runtime as a runtime: its outputs, greedy texts and tokenizer are ours, for each class of model."""

from pathlib import Path

import pytest
import torch

from clearhead.export.compare import compare_outputs
from clearhead.export.runtime import Row
from clearhead.tasks.family import LearnedFamily
from clearhead.verbs.exports.formats import FORMATS, Source
from tests.graphs import loaded, small_bert

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: it is what runs here")
from clearhead.export.onnx.runtime import OnnxRuntime

pytestmark = pytest.mark.unchecked


@pytest.mark.parametrize("name", ["translator", "lm", "masked", "pairs"])
def test_each_class_of_model(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    fixtures = {
        "translator": "toy_run",
        "lm": "toy_lm_run",
        "masked": "toy_masked_run",
        "pairs": "toy_pair_classifier",
    }
    run = request.getfixturevalue(fixtures[name])
    data = request.getfixturevalue("toy_data") if name == "translator" else run.parent / "data"
    source = Source.open(run)
    assert isinstance(source.family, LearnedFamily)
    evidence = source.family.evidence(source.trained, data, 6)
    (tmp_path / "out").mkdir()
    FORMATS["onnx"].write(source, tmp_path / "out", "float32")
    theirs, ours = FORMATS["onnx"].run(source, tmp_path / "out", evidence), source.ours(evidence)
    assert compare_outputs(ours, theirs, evidence.rows)[0].equal
    assert theirs.encode(evidence.texts) == evidence.ids
    written = theirs.greedy(evidence.prompts, evidence.limits)
    assert written == ours.greedy(evidence.prompts, evidence.limits)
    if evidence.prompts:
        assert written is not None
        parts = source.parts
        tokenizer = parts.target or parts.tokenizer
        assert theirs.decode(written) == [tokenizer.decode(ids) for ids in written]


def test_what_is_run_is_the_smallest_form_and_labels_of_pieces_are_one_each(tmp_path: Path) -> None:
    model = small_bert("token")
    (tmp_path / "onnx").mkdir()
    loaded(model, tmp_path, 23)
    (tmp_path / "model-23.onnx").rename(tmp_path / "onnx/model.onnx")
    rows = [Row([5, 6, 7]), Row([8])]
    runtime = OnnxRuntime(tmp_path, model, ends=[2], never=[0])
    assert [tuple(values.shape) for values in runtime.outputs(rows)] == [(3, 3), (1, 3)]
    with torch.no_grad():
        model.get_parameter("head.out_proj.bias").add_(1.0)
    loaded(model, tmp_path, 23)
    (tmp_path / "model-23.onnx").rename(tmp_path / "onnx/model_q4.onnx")
    changed = OnnxRuntime(tmp_path, model, ends=[2], never=[0]).outputs(rows)
    assert torch.allclose(changed[0], runtime.outputs(rows)[0] + 1.0)
