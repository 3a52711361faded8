"""The catalog of tasks: what a recipe is for, with its defaults."""

from pathlib import Path

import pytest

from clearhead.config import merge
from clearhead.errors import UsageError
from clearhead.tasks.catalog import family_of_recipe, prepare_job, resolve
from clearhead.tasks.masked.family import MASKED
from clearhead.tasks.translation.family import TRANSLATION
from clearhead.tasks.translation.job import TranslationJob
from tests.toy import RECIPE


def test_a_recipe_without_a_task_is_for_translation(toy_data: Path) -> None:
    assert family_of_recipe({}, "here") is TRANSLATION
    assert isinstance(prepare_job(RECIPE, "here", toy_data), TranslationJob)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(UsageError, match=r"^here: task = 'translating': must be .*did you mean 'translation'"):
        family_of_recipe({"task": "translating"}, "here")
    with pytest.raises(UsageError, match=r"it was written by clearhead 99, this is"):
        family_of_recipe({"task": "video", "clearhead": "99"}, "here")


def test_what_learns_from_scratch_refuses_a_start() -> None:
    with pytest.raises(
        UsageError, match=r"^here: start = 'runs/x': the task ngram learns from scratch, only translation, "
    ):
        family_of_recipe({"task": "ngram", "start": "runs/x"}, "here")
    assert family_of_recipe({"task": "masked", "start": "runs/x"}, "here") is MASKED


def test_defaults_are_filled_in() -> None:
    tree = resolve(merge(RECIPE, {"train": {"seed": 7}}), "here")
    assert (tree["train"]["seed"], tree["train"]["keep_last"]) == (7, 3)


def test_a_bert_has_its_own_defaults() -> None:
    tree = resolve({"task": "masked", "tokenizer": {"kind": "char"}, "model": {"block": {"mlp_dropout": 0.1}}}, "here")
    assert tree["tokenizer"]["specials"] == "masked"
    assert (tree["model"]["block"]["norm_position"], tree["model"]["block"]["activation"]) == ("post", "gelu")
