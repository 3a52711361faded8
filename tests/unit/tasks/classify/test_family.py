"""Classifiers as a family: pairs where the run is for pairs, other labels are refused, new ones start fresh."""

from pathlib import Path

import pytest

from clearhead.errors import DataError
from clearhead.runs.opened import SavedRun
from clearhead.tasks.classify.family import CLASSIFY, reads_pair
from clearhead.tasks.sample import Sample
from tests.toy import CLASSIFY as RECIPE
from tests.toy import write_labelled


def test_pairs_are_read_as_pairs(toy_classifier: Path, toy_pair_classifier: Path) -> None:
    single, pair = (CLASSIFY.load(SavedRun.open(run), device="cpu") for run in (toy_classifier, toy_pair_classifier))
    assert not reads_pair(single, "a\tb")
    assert reads_pair(pair, None)
    assert CLASSIFY.batch_of(pair, Sample("great film\tthe plot")).segments.max() == 1
    assert CLASSIFY.batch_of(single, Sample("great film")).segments.max() == 0


def test_classes_and_numbers_are_not_compared() -> None:
    goals = {kind: CLASSIFY.goal(CLASSIFY.parse({"data": {"kind": kind}}, "here")) for kind in ("classes", "number")}
    assert goals == {"classes": "classification", "number": "numbers of texts"}


def test_a_run_goes_on_with_its_own_labels_alone(toy_classifier: Path, tmp_path: Path) -> None:
    other = write_labelled(tmp_path / "other", ["up\ta film", "down\ta plot"] * 4, ["up\ta film"])
    with pytest.raises(DataError, match=r"its labels are not those that run .* was trained on"):
        CLASSIFY.prepare(RECIPE, "here", other, run=toy_classifier)
    started = CLASSIFY.prepare({**RECIPE, "start": str(toy_classifier), "model": {}, "tokenizer": {}}, "here", other)
    assert started.labels.classes == ("down", "up")
