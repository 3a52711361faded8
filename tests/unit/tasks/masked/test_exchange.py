"""BERTs in Hugging Face's layout: one without heads gets new ones, one for labels is refused."""

from pathlib import Path

import pytest

from clearhead.errors import ModelError
from clearhead.interop.folder import read_config
from clearhead.tasks.masked.exchange import read_bert
from tests.foreign import write_bert


def test_a_bare_encoder_gets_heads_that_are_new(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "theirs", "BertModel")
    imported = read_bert(folder, read_config(folder))
    assert imported.recipe.masked.next_sentence
    assert any("seq_relationship" in name for name in imported.new)
    assert "mlm_head.out_proj.weight" not in imported.tensors


def test_a_classifier_has_no_heads_of_pretraining(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "theirs", "BertForSequenceClassification")
    with pytest.raises(ModelError, match="is a BERT for sequence labels: it has no heads of pretraining"):
        read_bert(folder, read_config(folder))
