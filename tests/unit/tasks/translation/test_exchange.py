"""Translators in Marian's shape: what theirs cannot be is refused by its key, languages must be known."""

from pathlib import Path

import pytest

from clearhead.errors import ModelError, UsageError
from clearhead.runs.text_parts import load_both_sides
from clearhead.tasks.translation.exchange import read_marian, write_marian
from clearhead.tasks.translation.recipe import build_translator, parse_translation
from clearhead.tasks.translation.translator import Translator
from tests.foreign import write_marian as write_theirs
from tests.toy import RECIPE


def test_a_recurrent_translator_is_said_to_be_one(toy_run: Path) -> None:
    parts = load_both_sides(toy_run)
    recipe = parse_translation({**RECIPE, "task": "rnn_translation", "model": {"d_model": 16}}, "here")
    device = Translator.load(toy_run, device="cpu").device
    recurrent = Translator(recipe, parts.both, build_translator(recipe, parts.sizes), device)
    with pytest.raises(ModelError, match=r"^task = 'rnn_translation': Hugging Face has no class for it"):
        write_marian(recurrent)
    assert write_marian(Translator.load(toy_run, device="cpu"))[0]["model_type"] == "blenderbot"


def test_languages_must_be_known(tmp_path: Path) -> None:
    from clearhead.interop.folder import read_config

    folder = write_theirs(tmp_path / "theirs")
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UsageError, match="does not say its languages: add --src and --tgt"):
        read_marian(folder, read_config(folder), src="", tgt="")
    imported = read_marian(folder, read_config(folder), src="en", tgt="de")
    assert (imported.recipe.src, imported.recipe.tgt) == ("en", "de")
    assert imported.recipe.data.max_len < imported.recipe.model.max_seq_len
