"""Translators as a family: languages may be left out of a sketch, and a text is read with its translation."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from clearhead.errors import UsageError
from clearhead.runs.opened import SavedRun
from clearhead.tasks.sample import Sample
from clearhead.tasks.translation.family import TRANSLATION


def test_a_sketch_needs_no_languages() -> None:
    recipe = TRANSLATION.sketch({"model": {"d_model": 32, "n_heads": 2}}, "here")
    assert TRANSLATION.width(recipe) == recipe.data.max_len + 1
    with pytest.raises(UsageError, match="the languages are not set"):
        TRANSLATION.parse({}, "here")


def test_runs_of_other_languages_have_another_goal() -> None:
    one, other = (TRANSLATION.parse({"src": "zh", "tgt": tgt}, "here") for tgt in ("en", "de"))
    assert (TRANSLATION.goal(one), TRANSLATION.goal(other)) == (
        "translation from zh to en",
        "translation from zh to de",
    )


def test_the_target_of_a_text_is_its_translation(toy_run: Path) -> None:
    translator = TRANSLATION.load(SavedRun.open(toy_run), device="cpu")
    batch = TRANSLATION.batch_of(translator, Sample("他喜欢书。"))
    translation = translator.translate(["他喜欢书。"], beam=1)[0]
    assert batch.tgt_ids[0, 1:].tolist() == translation.target_ids[:-1]


def test_a_translation_as_long_as_the_model_allows_leaves_a_place_for_the_begin_mark(toy_run: Path) -> None:
    translator = TRANSLATION.load(SavedRun.open(toy_run), device="cpu")
    most = translator.recipe.model.max_seq_len
    whole = translator.translate(["他喜欢书。"])[0]
    endless = replace(whole, target_ids=[5] * most, complete=False)
    with patch.object(type(translator), "translate", return_value=[endless]):
        batch = TRANSLATION.batch_of(translator, Sample("他喜欢书。"))
    assert batch.tgt_ids.shape == (1, most)
    translator.model(batch.src_ids, batch.tgt_ids)
