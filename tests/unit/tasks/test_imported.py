"""Models read from folders: the recipe of the task that each is for, and what ours cannot represent."""

import json
from pathlib import Path

import pytest

from clearhead.data.labels.labels import Labels
from clearhead.errors import ModelError
from clearhead.tasks.catalog import read_model
from tests.foreign import write_bert, write_gpt2


def test_what_ours_cannot_represent(tmp_path: Path) -> None:
    folder = write_gpt2(tmp_path / "theirs")
    config = json.loads((folder / "config.json").read_text())
    for change, expected in (
        ({"model_type": "bloom"}, "config.json: model_type = 'bloom': must be 'bert' or 'gpt2' or 'llama'"),
        ({"model_type": None}, "config.json: model_type = None: must be 'bert'"),
        ({"n_layer": 3}, "tensor 'transformer.h.2.attn.c_attn.bias' is missing"),
        ({"vocab_size": 299}, "has shape"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match=expected):
            read_model(folder)
    del config["n_embd"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"config\.json: n_embd is missing"):
        read_model(folder)


def test_a_long_context_does_not_break_the_recipe(tmp_path: Path) -> None:
    _, found = read_model(write_gpt2(tmp_path, n_positions=5000))
    assert found.recipe.train.batch_tokens == 5000


def test_a_classifier_has_its_labels_and_may_be_for_pairs(tmp_path: Path) -> None:
    _, found = read_model(write_bert(tmp_path / "two", "BertForSequenceClassification"))
    assert (found.recipe.task, found.parts.labels) == ("classify", Labels(("LABEL_0", "LABEL_1"), None))
    _, single = read_model(
        write_bert(tmp_path / "one", "BertForSequenceClassification", type_vocab_size=1, num_labels=1)
    )
    assert single.parts.labels == Labels((), False)


def test_labels_of_pieces_are_for_no_run(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "theirs", "BertForTokenClassification")
    with pytest.raises(
        ModelError, match="is a BertForTokenClassification: clearhead has no classifier of single pieces"
    ):
        read_model(folder)
