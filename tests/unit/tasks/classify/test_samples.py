"""Sampled classes: those of ``classify``, right or wrong by the labels of the lines."""

from pathlib import Path

import numpy as np

from clearhead.runs.recipes import load_recipe
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.job import ClassifyJob


def job_of(run: Path, data: Path, samples: int = 3) -> ClassifyJob:
    tree = load_recipe(run)
    tree["validation"] |= {"samples": samples}
    job = prepare_job(tree, "recipe", data, run=run)
    assert isinstance(job, ClassifyJob)
    return job


def test_they_are_what_classify_says(toy_classifier: Path, labelled: Path) -> None:
    job, classifier = job_of(toy_classifier, labelled, 8), Classifier.load(toy_classifier, engine="torch")
    lines, scores = job.sample(classifier.model)
    labels = dict(reversed(line.split("\t")) for line in (labelled / "valid.tsv").read_text().splitlines())
    assert len(lines) == 8
    for line in lines:
        said = classifier.classify(line.given)
        assert line.made == f"{said.label} {said.score:.2f}"
        assert labels[line.given] == line.wanted
        assert line.score == float(said.label == line.wanted)
    assert scores == {"right": np.mean([line.score for line in lines])}


def test_pairs_are_shown_as_pairs(toy_pair_classifier: Path) -> None:
    job = job_of(toy_pair_classifier, toy_pair_classifier.parent / "data")
    lines, _ = job.sample(job.model)
    for line in lines:
        first, second = line.given.split(" | ")
        assert len(first.split()) > 1
        assert len(second.split()) == 3


def test_numbers_have_no_score(toy_classifier: Path, tmp_path: Path) -> None:
    for stem, count in (("train", 40), ("valid", 8)):
        rows = [f"{number / 4}\tthe film was {'very ' * (number % 5)}fine" for number in range(count)]
        (tmp_path / f"{stem}.tsv").write_text("\n".join(rows) + "\n")
    tree = load_recipe(toy_classifier)
    tree["data"] |= {"kind": "number"}
    tree["validation"] |= {"monitor": "loss"}
    job = prepare_job(tree, "recipe", tmp_path)
    assert isinstance(job, ClassifyJob)
    lines, scores = job.sample(job.model)
    assert scores == {}
    assert all(line.score is None and float(line.wanted) >= 0 and float(line.made) for line in lines)


def test_none_where_none_are_wanted(toy_classifier: Path, labelled: Path) -> None:
    job = job_of(toy_classifier, labelled, 0)
    assert job.sample(job.model) == ((), {})
