"""Which models go to one file, and that the file computes what the model does."""

from pathlib import Path

import pytest
import torch

from clearhead.engine.weights.file import write_model
from clearhead.errors import ModelError
from clearhead.export.file import NAME, NativeFile, check_file
from clearhead.export.ours import Ours
from clearhead.export.runtime import Exportable, Row
from clearhead.models.bert import BertClassifier, BertConfig
from clearhead.models.gpt import GPTConfig
from clearhead.models.rnn import RNNConfig
from clearhead.models.transformer import TransformerConfig
from clearhead.nn.layer import BlockConfig
from tests.native import NATIVE, native
from tests.small import small, small_gpt
from tests.unit.engine.loops.test_texts import small_bert


def test_models_that_the_engine_does_not_compute_are_refused_by_key() -> None:
    check_file(TransformerConfig())
    with pytest.raises(ModelError, match="takes Transformers alone"):
        check_file(RNNConfig())
    with pytest.raises(ModelError, match=r"the native engine: model.block.norm = 'batch': must be 'layer' or 'rms'"):
        check_file(GPTConfig(block=BlockConfig(norm="batch")))
    with pytest.raises(ModelError, match=r"model.block.attention = 'additive'"):
        check_file(TransformerConfig(block=BlockConfig(attention="additive")))


def classifier() -> BertClassifier:
    torch.manual_seed(0)
    config = BertConfig(d_model=16, d_ff=24, n_heads=2, n_layers=1, max_seq_len=16, dropout=0.0)
    return BertClassifier(config, vocab_size=40, kind="sequence", n_labels=3, pooling="mean").eval()


@NATIVE
@pytest.mark.parametrize("make", [small, small_gpt, small_bert, classifier])
def test_outputs_and_greedy_texts_are_those_of_the_model(make: object, tmp_path: Path) -> None:
    model: Exportable = make()  # type: ignore[operator]
    write_model(tmp_path / NAME, native(model).image, {}, {})  # type: ignore[arg-type]
    rows = [Row([5, 6, 7, 3]), Row([4, 3])]
    if model.__class__.__name__ == "Transformer":
        rows = [Row(row.ids, [2, 5, 6]) for row in rows]
    ours, theirs = Ours(model, ends=[3], never=[0, 1]), NativeFile(tmp_path, model, ends=[3], never=[0, 1])
    for mine, its in zip(ours.outputs(rows), theirs.outputs(rows), strict=True):
        torch.testing.assert_close(its, mine, atol=1e-4, rtol=1e-4)
    written = theirs.greedy(rows, [5, 5])
    if written is not None:
        assert written == ours.greedy(rows, [5, 5])
