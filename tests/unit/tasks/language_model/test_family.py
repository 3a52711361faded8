"""Language models as families: n-grams and networks have one goal; isolated documents stay apart in a blank batch."""

from pathlib import Path

import pytest

from clearhead.errors import ModelError
from clearhead.runs.opened import SavedRun
from clearhead.tasks.language_model.family import LANGUAGE_MODEL, NGRAM


def test_all_kinds_can_be_compared(toy_baselines: dict[str, Path]) -> None:
    run = SavedRun.open(toy_baselines["ngram"])
    recipe = NGRAM.parse(run.tree, run.source)
    assert NGRAM.goal(recipe) == LANGUAGE_MODEL.goal(LANGUAGE_MODEL.parse({}, "here"))
    trained = NGRAM.load(run)
    assert NGRAM.parameters(trained) == trained.model.size > 0
    assert NGRAM.verb == LANGUAGE_MODEL.verb == "generate"


def test_counts_are_no_model_of_theirs(toy_baselines: dict[str, Path]) -> None:
    trained = NGRAM.load(SavedRun.open(toy_baselines["ngram"]))
    with pytest.raises(ModelError, match=r"^task = 'ngram': Hugging Face has no class for it"):
        NGRAM.to_hugging_face(trained)


def test_documents_are_apart_where_the_recipe_says_so() -> None:
    for packing, apart in (("cross", False), ("isolated", True)):
        recipe = LANGUAGE_MODEL.parse({"data": {"packing": packing}}, "here")
        batch = LANGUAGE_MODEL.blank(recipe, 2, 8)
        assert (batch.document_ids is not None) is apart
