"""A trained classifier: in order, whatever the batches; scores of a split; what it cannot be given."""

from pathlib import Path

import numpy as np
import pytest

import clearhead
from clearhead.config import merge
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.evaluate.classification import ClassificationScores, RegressionScores
from clearhead.tasks.classify.classifier import Classifier
from clearhead.verbs.train import train
from tests.toy import CLASSIFY, labelled_lines, write_labelled, write_recipe

TEXTS = ["the film was great", "awful", "a very very long plot was really dull", "fine", "music was lovely music"]


@pytest.fixture(scope="module")
def model(toy_classifier: Path) -> Classifier:
    return Classifier.load(toy_classifier)


def test_each_text_gets_its_label_and_the_probability_of_each(model: Classifier) -> None:
    found = model.classify(TEXTS)
    assert [one.text for one in found] == TEXTS
    assert [one.label for one in found] == ["good", "bad", "bad", "good", "good"]
    for one in found:
        assert list(one.probabilities) == ["bad", "good"]
        assert sum(one.probabilities.values()) == pytest.approx(1.0)
        assert one.score == max(one.probabilities.values()) == one.probabilities[one.label or ""]
        assert (one.pair, one.dropped) == (None, 0)
    for text, one in zip(TEXTS, found, strict=True):
        (alone,) = model.classify([text])
        assert alone.probabilities == pytest.approx(one.probabilities, abs=1e-6)
    assert model.classify([]) == []


def test_what_is_cut_off_is_said(model: Classifier) -> None:
    (one,) = model.classify(["great " * 30])
    assert one.dropped == 30 - 22


def test_pairs(toy_pair_classifier: Path) -> None:
    model = clearhead.load(toy_pair_classifier)
    assert isinstance(model, Classifier)
    one, other = model.classify([("a great film", "really"), ("a dull film", "was it")])
    assert (one.pair, other.pair) == ("really", "was it")
    with pytest.raises(DataError, match="text 2: one text, but the run is for pairs"):
        model.classify([("a", "b"), "c"])
    with pytest.raises(DataError, match="text 1: the text is empty"):
        model.classify([("a", " ")])


def test_what_it_cannot_be_given(model: Classifier, toy_lm_run: Path) -> None:
    with pytest.raises(DataError, match="text 2: two texts, but the run is for single ones"):
        model.classify(["a", ("a", "b")])
    with pytest.raises(DataError, match="text 2: the text is empty"):
        model.classify(["a", "\t "])
    with pytest.raises(ModelError, match="is for the task language_model, not classify: use clearhead generate"):
        Classifier.load(toy_lm_run)


def test_the_scores_of_a_split_are_those_of_the_run(model: Classifier, toy_classifier: Path, labelled: Path) -> None:
    found = model.evaluate(labelled, "valid")
    assert isinstance(found.scores, ClassificationScores)
    rows = [line.split("\t") for line in (labelled / "valid.tsv").read_text().splitlines()]
    given = model.classify([text for _, text in rows])
    right = np.mean([one.label == label for one, (label, _) in zip(given, rows, strict=True)])
    losses = [-np.log(one.probabilities[label]) for one, (label, _) in zip(given, rows, strict=True)]
    assert found.scores.accuracy == right
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert (found.scores.lines, found.report.rows, found.report.truncated) == (30, 30, 0)
    assert found.lines_per_second > 0


def test_lines_that_cannot_be_scored(model: Classifier, labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--split 'vlid': must be one of train, valid, test for a classifier"):
        model.evaluate(labelled, "vlid")
    write_labelled(tmp_path, labelled_lines(4), ["good\ta", "fair\ta"])
    with pytest.raises(DataError, match=r"valid\.tsv line 2: label 'fair' is not in the training lines"):
        model.evaluate(tmp_path, "valid")
    write_labelled(tmp_path, labelled_lines(4), labelled_lines(4, pairs=True))
    with pytest.raises(DataError, match=r"valid\.tsv line 1: two texts a line, but one in training"):
        model.evaluate(tmp_path, "valid")


def test_a_file_of_one_class_or_without_training_lines_can_be_scored(model: Classifier, tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("good\ta great film\n")
    scores = model.evaluate(tmp_path, "test").scores
    assert isinstance(scores, ClassificationScores)
    assert [one.support for one in scores.classes] == [0, 1]


def test_numbers(tmp_path: Path) -> None:
    lines = [f"{3 if 'great' in line else -2}\t{line.partition(chr(9))[2]}" for line in labelled_lines(60)]
    recipe = write_recipe(tmp_path / "numbers.toml", merge(CLASSIFY, {"data": {"kind": "number"}}))
    data = write_labelled(tmp_path / "data", lines, lines[:9])
    run = train(recipe, data=data, out=tmp_path / "run", overrides=["finetune.epochs=2"]).run
    model = Classifier.load(run)
    (one,) = model.classify(["the film was great"])
    assert (one.label, one.probabilities) == (None, {})
    found = model.evaluate(data, "valid")
    assert isinstance(found.scores, RegressionScores)
    assert found.loss == pytest.approx(found.scores.mse / model.labels.deviation**2)
    assert clearhead.pipeline("text-classification", run)("the film was great") == [
        {"label": "LABEL_0", "score": one.score}
    ]
