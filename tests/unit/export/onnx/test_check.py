"""The grid check: it passes a true graph, and finds one whose mask, cache, table or weight is wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.errors import ModelError
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer
from tests.graphs import loaded, small_bert
from tests.small import small, small_gpt

onnx_check = pytest.importorskip("clearhead.export.onnx.check", reason="onnxruntime is not installed")
onnx_models = pytest.importorskip("clearhead.export.onnx.models", reason="onnx is not installed")
onnx_layers = pytest.importorskip("clearhead.export.onnx.layers", reason="onnx is not installed")
pytestmark = pytest.mark.unchecked
UNIT = onnx_models.Unit()


def differ(model: Any, folder: Path) -> str:
    with pytest.raises(ModelError, match="differs from clearhead's own result by") as caught:
        onnx_check.check_grid(model, loaded(model, folder, 23), UNIT)
    return str(caught.value)


@pytest.mark.parametrize("model", [small(max_seq_len=9), small_bert("masked"), small_bert("token")])
def test_the_largest_difference_of_a_true_graph_is_that_of_rounding(model: Any, tmp_path: Path) -> None:
    gap = onnx_check.check_grid(model, loaded(model, tmp_path, 23), UNIT)
    assert 0 < gap < 1e-5


def test_another_weight_is_found(tmp_path: Path) -> None:
    model = small_bert("sequence")
    sessions = loaded(model, tmp_path, 23)
    with torch.no_grad():
        model.get_parameter("head.out_proj.bias")[1] += 2e-4
    with pytest.raises(ModelError, match=r"1 rows of 1 pieces with padding right: differs .*: must be at most 0.0001"):
        onnx_check.check_grid(model, sessions, UNIT)


def test_a_mask_that_lets_queries_see_what_comes_later_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def every(graph: Any, queries: str, keys: str) -> str:
        rows, columns = onnx_models._rows_and_columns(graph, queries, keys)
        return str(graph.op("GreaterOrEqual", graph.op("Add", rows, graph.whole(1)), columns))

    monkeypatch.setattr(onnx_models, "_in_order", every)
    assert "0 and 2" in differ(small(max_seq_len=9), tmp_path)
    assert "padding" in differ(small_gpt(max_seq_len=9), tmp_path)


@pytest.mark.parametrize("make", [small, small_gpt])
def test_positions_that_forget_the_cache_are_found(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are right for a text that is read at once."""
    true = onnx_models.span

    def from_nought(graph: Any, first: str, end: str) -> str:
        begin = graph.whole(0)
        return str(true(graph, begin, end if first == begin else graph.op("Sub", end, first)))

    monkeypatch.setattr(onnx_models, "span", from_nought)
    model: Transformer | GPT = make(max_seq_len=9)
    assert "1 and 1 " in differ(model, tmp_path)


def test_a_number_of_rows_that_is_fixed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = onnx_layers._heads

    def fixed(graph: Any, x: str, heads: int) -> str:
        split = graph.op("Reshape", x, graph.ints(1, -1, heads, 4))
        return str(graph.op("Transpose", split, perm=[0, 2, 1, 3])) if heads == 4 else str(true(graph, x, heads))

    monkeypatch.setattr(onnx_layers, "_heads", fixed)
    model = small_bert("encoder")
    with pytest.raises(Exception, match=r"2 rows|shape|dimension|batch"):
        onnx_check.check_grid(model, loaded(model, tmp_path, 18), UNIT)


def test_what_onnx_runtime_cannot_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"ONNX Runtime refuses model\.onnx: ") as caught:
        onnx_check.Session(path)
    assert "\n" not in str(caught.value)


def test_no_number_is_no_small_difference(tmp_path: Path) -> None:
    model = small_bert("encoder")
    sessions = loaded(model, tmp_path, 23)
    with torch.no_grad():
        model.get_parameter("embedding.segments.weight").fill_(torch.nan)
    with pytest.raises(ModelError, match="by nan"):
        onnx_check.check_grid(model, sessions, UNIT)
