"""Language models in Hugging Face's layout: a recurrent one is refused as what it is, a tied table is read once."""

from pathlib import Path

import pytest

from clearhead.errors import ModelError
from clearhead.interop.folder import read_config
from clearhead.tasks.language_model.exchange import read_gpt, write_gpt
from clearhead.tasks.language_model.neural import LanguageModel
from tests.foreign import write_gpt2


def test_a_recurrent_model_is_said_to_be_one(toy_baselines: dict[str, Path]) -> None:
    recurrent = LanguageModel.load(toy_baselines["rnn_language_model"], device="cpu")
    with pytest.raises(ModelError, match=r"^task = 'rnn_language_model': Hugging Face has no class for it"):
        write_gpt(recurrent)


def test_a_tied_table_is_read_once(tmp_path: Path) -> None:
    folder = write_gpt2(tmp_path / "theirs")
    imported = read_gpt(folder, read_config(folder))
    assert imported.recipe.model.tie
    assert "lm_head.weight" not in imported.tensors
    assert any("tensors loaded" in line for line in imported.lines())
