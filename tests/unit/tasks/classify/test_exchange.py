"""Classifiers in Hugging Face's layout: labels come along, and a BERT without an output layer is none."""

from pathlib import Path

import pytest

from clearhead.errors import ModelError
from clearhead.interop.folder import read_config
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.exchange import read_classifier, write_classifier
from tests.foreign import write_bert


def test_labels_come_along(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "theirs", "BertForSequenceClassification")
    imported = read_classifier(folder, read_config(folder))
    assert imported.parts.labels is not None
    assert imported.parts.labels.classes == ("LABEL_0", "LABEL_1")
    assert imported.lines()[-1] == "labels: 2 classes: LABEL_0, LABEL_1"


def test_a_bert_without_an_output_layer_is_no_classifier(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "theirs", "BertForPreTraining")
    with pytest.raises(ModelError, match="is a BERT without an output layer for whole texts"):
        read_classifier(folder, read_config(folder))


def test_the_head_is_written_with_its_labels(toy_classifier: Path) -> None:
    config, tensors, files = write_classifier(Classifier.load(toy_classifier, device="cpu"))
    assert set(config["id2label"].values()) == {"bad", "good"}
    assert any(name.startswith("classifier.") for name in tensors)
    assert "tokenizer.json" in files
